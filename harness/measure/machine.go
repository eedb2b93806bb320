package measure

import (
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// machine reads facts of the host from its file system; tests give their own.
// What cannot be read is not known, never an error.
type machine struct {
	root   fs.FS
	getenv func(string) string
}

func thisMachine() machine { return machine{root: os.DirFS("/"), getenv: os.Getenv} }

// text reads a small file, without white space around; "" when it cannot.
func (m machine) text(name string) string {
	b, err := fs.ReadFile(m.root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// cgroup lists the folders of our cgroup that may hold files of a controller,
// our own first and its ancestors after it; v2 before v1.
func (m machine) cgroup(controller string) []string {
	var dirs []string
	for line := range strings.Lines(m.text("proc/self/cgroup")) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		switch names := strings.Split(part[1], ","); {
		case part[0] == "0" && part[1] == "":
			dirs = append(above("sys/fs/cgroup", part[2]), dirs...)
		case slices.Contains(names, controller):
			dirs = append(dirs, above("sys/fs/cgroup/"+controller, part[2])...)
		}
	}
	return dirs
}

// above lists mount/own and each folder above it, down to the mount: a limit
// may sit on any of them. (In a container own may name a folder of the host
// that is not visible; the mount is then our own.)
func above(mount, own string) []string {
	var dirs []string
	for own = path.Clean("/" + own); ; own = path.Dir(own) {
		dirs = append(dirs, path.Join(mount, own))
		if own == "/" {
			return dirs
		}
	}
}

// cpuQuota is the tightest CPU limit of our cgroups in cores; 0 = none.
func (m machine) cpuQuota() float64 {
	least := math.Inf(1)
	limit := func(quota, period string) {
		q, err1 := strconv.ParseFloat(quota, 64)
		p, err2 := strconv.ParseFloat(period, 64)
		if err1 == nil && err2 == nil && q > 0 && p > 0 {
			least = min(least, q/p)
		}
	}
	for _, dir := range m.cgroup("cpu") {
		if v2 := strings.Fields(m.text(dir + "/cpu.max")); len(v2) == 2 {
			limit(v2[0], v2[1]) // "max" is no number: no limit
		}
		limit(m.text(dir+"/cpu.cfs_quota_us"), m.text(dir+"/cpu.cfs_period_us"))
	}
	if math.IsInf(least, 1) {
		return 0
	}
	return least
}

// throttled is how long our cgroup was kept from the CPU so far, in µs.
func (m machine) throttled() *int64 {
	for _, dir := range m.cgroup("cpu") {
		for line := range strings.Lines(m.text(dir + "/cpu.stat")) {
			f := strings.Fields(line)
			if len(f) != 2 {
				continue
			}
			n, err := strconv.ParseInt(f[1], 10, 64)
			switch {
			case err != nil:
			case f[0] == "throttled_usec": // v2
				return &n
			case f[0] == "throttled_time": // v1, in ns
				return new(n / 1000)
			}
		}
	}
	return nil
}

// memory is the memory that we may use, in bytes: the host's, or the tightest
// limit of our cgroups; 0 = not known.
func (m machine) memory() int64 {
	total := int64(0)
	for line := range strings.Lines(m.text("proc/meminfo")) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			if err == nil {
				total = kb << 10
			}
			break
		}
	}
	for _, dir := range m.cgroup("memory") {
		for _, file := range []string{"/memory.max", "/memory.limit_in_bytes"} {
			n, err := strconv.ParseInt(m.text(dir+file), 10, 64)
			if err == nil && n > 0 && (total == 0 || n < total) {
				total = n
			}
		}
	}
	return total
}

// netCounters reads the named counters of /proc/net/netstat and /proc/net/snmp,
// whose lines come in pairs: names, then values.
func (m machine) netCounters(names ...string) map[string]int64 {
	found := make(map[string]int64, len(names))
	for _, file := range []string{"proc/net/netstat", "proc/net/snmp"} {
		var head []string
		for line := range strings.Lines(m.text(file)) {
			f := strings.Fields(line)
			if len(head) != len(f) || len(f) == 0 || head[0] != f[0] {
				head = f
				continue
			}
			for i := 1; i < len(f); i++ {
				n, err := strconv.ParseInt(f[i], 10, 64)
				if err == nil && slices.Contains(names, head[i]) {
					found[head[i]] = n
				}
			}
			head = nil
		}
	}
	return found
}

// tcpSockets reads the TCP sockets in use and those in TIME_WAIT on this host.
func (m machine) tcpSockets() (inUse, timeWait *int64) {
	for line := range strings.Lines(m.text("proc/net/sockstat")) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "TCP:" {
			continue
		}
		for i := 1; i+1 < len(f); i += 2 {
			n, err := strconv.ParseInt(f[i+1], 10, 64)
			switch {
			case err != nil:
			case f[i] == "inuse":
				inUse = &n
			case f[i] == "tw":
				timeWait = &n
			}
		}
	}
	return inUse, timeWait
}

// cpuOf is the CPU time of another process so far, in seconds. The kernel
// counts it in ticks of 10 ms on every architecture Go runs on.
func (m machine) cpuOf(pid string) *float64 {
	stat := m.text("proc/" + pid + "/stat")
	// The second field is the program's name in brackets, which may hold spaces.
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return nil
	}
	f := strings.Fields(stat[end+1:])
	if len(f) < 13 {
		return nil
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	if err1 != nil || err2 != nil {
		return nil
	}
	return new(float64(user+system) / 100)
}

// fdsBySize counts the open file descriptors of a process ("self" or a pid) at
// the price of one stat: since Linux 6.2 the size of the folder is the number.
// Before, it is 0, and so not known.
func (m machine) fdsBySize(pid string) *int64 {
	info, err := fs.Stat(m.root, "proc/"+pid+"/fd")
	if err != nil || info.Size() == 0 {
		return nil
	}
	return new(info.Size())
}

// fdsByName counts them by reading their names: about 2 ms for 10,000.
func (m machine) fdsByName(pid string) *int64 {
	entries, err := fs.ReadDir(m.root, "proc/"+pid+"/fd")
	if err != nil {
		return nil
	}
	n := int64(len(entries))
	if pid == "self" {
		n-- // the folder itself
	}
	return &n
}

// fds counts them in the cheaper way that works.
func (m machine) fds(pid string) *int64 {
	if n := m.fdsBySize(pid); n != nil {
		return n
	}
	return m.fdsByName(pid)
}
