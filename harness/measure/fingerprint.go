package measure

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rebound-mqtt/rebound/reports"
)

// Fingerprint describes the machine and the build, for env.json: what a reader
// needs to judge whether two runs may be compared. It holds no host name, user,
// path or secret; of the environment it tells only which CI vendor's mark is
// set. What the host does not tell is left zero.
func Fingerprint() reports.Env { return thisMachine().fingerprint() }

func (m machine) fingerprint() reports.Env {
	soft, _, _ := FDs()
	return reports.Env{
		OS:         runtime.GOOS,
		Arch:       runtime.GOARCH,
		Kernel:     kernel(),
		CPU:        m.cpuModel(),
		Cores:      runtime.NumCPU(),
		GOMAXPROCS: runtime.GOMAXPROCS(0),
		CPUQuota:   m.cpuQuota(),
		MemoryByte: m.memory(),
		FDLimit:    soft,
		Go:         runtime.Version(),
		GOGC:       gogc(),
		Modules:    modules(debug.ReadBuildInfo()),
		Sysctls:    m.sysctls(),
		Load1:      m.load(),
		CI:         m.ci(),
	}
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:]) // the node name stays out
}

func (m machine) cpuModel() string {
	for line := range strings.Lines(m.text("proc/cpuinfo")) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "" // some ARM kernels do not tell
}

// gogc asks the runtime and not the environment: code can set it too.
func gogc() string {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	switch {
	case s[0].Value.Kind() != metrics.KindUint64:
		return ""
	case s[0].Value.Uint64() == math.MaxUint64:
		return "off"
	}
	return strconv.FormatUint(s[0].Value.Uint64(), 10)
}

// modules gives the versions of the modules that can change a result.
func modules(info *debug.BuildInfo, ok bool) map[string]string {
	versions := map[string]string{}
	if !ok {
		return versions
	}
	if info.Main.Version != "" {
		versions["rebound"] = info.Main.Version
	}
	short := map[string]string{
		"github.com/eclipse/paho.mqtt.golang":     "paho",
		"github.com/mochi-mqtt/server/v2":         "mochi",
		"github.com/HdrHistogram/hdrhistogram-go": "hdrhistogram",
		"github.com/rebound-mqtt/rebound":         "rebound", // as a dependency of a user's own test
	}
	for _, d := range info.Deps {
		name, known := short[d.Path]
		switch {
		case !known:
		case d.Replace != nil && d.Replace.Version == "":
			versions[name] = d.Version + " (replaced)" // by a folder, whose path stays out
		case d.Replace != nil:
			versions[name] = fmt.Sprintf("%s (replaced by %s)", d.Version, d.Replace.Version)
		default:
			versions[name] = d.Version
		}
	}
	return versions
}

func (m machine) sysctls() map[string]string {
	values := map[string]string{}
	for name, file := range map[string]string{
		"net.core.somaxconn":           "proc/sys/net/core/somaxconn",
		"net.ipv4.ip_local_port_range": "proc/sys/net/ipv4/ip_local_port_range",
		"net.ipv4.tcp_tw_reuse":        "proc/sys/net/ipv4/tcp_tw_reuse",
		"net.ipv4.tcp_syncookies":      "proc/sys/net/ipv4/tcp_syncookies",
	} {
		if v := strings.Join(strings.Fields(m.text(file)), " "); v != "" {
			values[name] = v
		}
	}
	return values
}

func (m machine) load() float64 {
	first, _, _ := strings.Cut(m.text("proc/loadavg"), " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return v
}

// ci names the vendor whose mark is in the environment; "" = none.
func (m machine) ci() string {
	for _, v := range []struct{ mark, name string }{
		{"GITHUB_ACTIONS", "github-actions"},
		{"GITLAB_CI", "gitlab"},
		{"JENKINS_URL", "jenkins"},
		{"BUILDKITE", "buildkite"},
		{"CIRCLECI", "circleci"},
		{"TF_BUILD", "azure-pipelines"},
		{"TEAMCITY_VERSION", "teamcity"},
		{"BITBUCKET_BUILD_NUMBER", "bitbucket"},
		{"TRAVIS", "travis"},
		{"DRONE", "drone"},
		{"CI", "other"}, // set by most; last, as it names none
	} {
		if set := m.getenv(v.mark); set != "" && set != "false" {
			return v.name
		}
	}
	return ""
}

// Ports is how many ephemeral ports there are for each pair of addresses, which
// is how many connections this host can have from one of its addresses to one
// port of another; 0 = not known.
func Ports() int { return thisMachine().ports() }

func (m machine) ports() int {
	f := strings.Fields(m.text("proc/sys/net/ipv4/ip_local_port_range"))
	if len(f) != 2 {
		return 0
	}
	low, err1 := strconv.Atoi(f[0])
	high, err2 := strconv.Atoi(f[1])
	if err1 != nil || err2 != nil || high < low {
		return 0
	}
	return high - low + 1
}

// FDs gives the soft and hard limit of open file descriptors of this process
// and how many are open; 0 = not known.
func FDs() (soft, hard, used uint64) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err == nil {
		soft, hard = uint64(lim.Cur), uint64(lim.Max)
	}
	if n := thisMachine().fds("self"); n != nil {
		used = uint64(*n)
	}
	return soft, hard, used
}

// RaiseFDs raises the soft limit of open file descriptors to the hard one and
// gives what holds then. The Go runtime tries the same at its start; here its
// failure is seen, and child processes inherit it.
func RaiseFDs() (soft uint64, err error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	if lim.Cur >= lim.Max {
		return uint64(lim.Cur), nil
	}
	before := lim.Cur
	lim.Cur = lim.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return uint64(before), fmt.Errorf("raise the limit of open files from %d to %d: %w", before, lim.Max, err)
	}
	return uint64(lim.Cur), nil
}
