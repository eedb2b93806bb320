'use strict';

// Reads HdrHistogram logs with hdr-histogram-js, one file an argument, and
// prints a JSON object: the intervals of the logs with their tags, spans and
// values, and for each tag the percentile text of all its intervals together.

const fs = require('fs');
const hdr = require('hdr-histogram-js');

const intervals = [];
const sums = {};
for (const file of process.argv.slice(2)) {
  const reader = new hdr.HistogramLogReader(fs.readFileSync(file, 'utf8'));
  for (let h = reader.nextIntervalHistogram(); h !== null; h = reader.nextIntervalHistogram()) {
    intervals.push({
      tag: h.tag,
      start: h.startTimeStampMsec,
      end: h.endTimeStampMsec,
      n: h.totalCount,
      p50: h.getValueAtPercentile(50),
      p99: h.getValueAtPercentile(99),
      max: h.maxValue,
    });
    if (sums[h.tag]) {
      sums[h.tag].add(h);
    } else {
      sums[h.tag] = h;
    }
  }
}

const texts = {};
for (const [tag, h] of Object.entries(sums)) {
  // Times are in ns and written in ms, counts as they are.
  texts[tag] = h.outputPercentileDistribution(5, tag.includes('.loss.') ? 1 : 1e6);
}
process.stdout.write(JSON.stringify({ intervals, texts }));
