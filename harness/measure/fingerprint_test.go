package measure

import (
	"encoding/json"
	"os"
	"os/user"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// fake is a machine made of files; env are the marks in its environment.
func fake(files map[string]string, env ...string) machine {
	root := fstest.MapFS{}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return machine{root: root, getenv: func(name string) string {
		for _, e := range env {
			if k, v, _ := strings.Cut(e, "="); k == name {
				return v
			}
		}
		return ""
	}}
}

func TestFingerprint(t *testing.T) {
	e := fake(map[string]string{
		"proc/cpuinfo":                          "processor\t: 0\nmodel name\t: Example 9000\nprocessor\t: 1\nmodel name\t: Example 9000\n",
		"proc/meminfo":                          "MemTotal:        4096 kB\nMemFree: 1 kB\n",
		"proc/loadavg":                          "0.42 0.30 0.10 1/234 5678\n",
		"proc/sys/net/core/somaxconn":           "4096\n",
		"proc/sys/net/ipv4/tcp_tw_reuse":        "2\n",
		"proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
	}, "GITHUB_ACTIONS=true", "CI=true").fingerprint()
	if e.CPU != "Example 9000" || e.MemoryByte != 4<<20 || e.Load1 != 0.42 || e.CI != "github-actions" || e.CPUQuota != 0 {
		t.Errorf("%+v", e)
	}
	want := map[string]string{"net.core.somaxconn": "4096", "net.ipv4.tcp_tw_reuse": "2", "net.ipv4.ip_local_port_range": "32768 60999"}
	if diff := cmp.Diff(want, e.Sysctls); diff != "" {
		t.Errorf("sysctls (-want +got)\n%s", diff)
	}
	if e.Cores < 1 || e.GOMAXPROCS < 1 || e.OS == "" || e.Arch == "" || e.Kernel == "" || e.FDLimit == 0 || !strings.HasPrefix(e.Go, "go") || e.GOGC == "" {
		t.Errorf("%+v", e)
	}
}

// A host that tells nothing gives zeros and no panic.
func TestFingerprintOfNothing(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"nothing": nil,
		"odd": {"proc/cpuinfo": "x", "proc/meminfo": "MemTotal:\nMemTotal: x kB", "proc/loadavg": "x", "proc/self/cgroup": "0::/a\n1:cpu\n:::::\n",
			"sys/fs/cgroup/a/cpu.max": "1 0", "sys/fs/cgroup/a/memory.max": "max", "sys/fs/cgroup/cpu.stat": "throttled_usec x\nx"},
	} {
		m := fake(files)
		e := m.fingerprint()
		if e.CPU != "" || e.MemoryByte != 0 || e.Load1 != 0 || e.CPUQuota != 0 || e.CI != "" || len(e.Sysctls) != 0 || m.throttled() != nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// No host names, users, paths or secrets.
func TestFingerprintIsAnonymous(t *testing.T) {
	t.Setenv("GITHUB_TOKEN", "hush-hush")
	b, err := json.Marshal(Fingerprint())
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	secret := []string{"hush-hush", "/proc", "/home", "/root", "/tmp", "/usr"}
	// Names such as "linux" or "vm" are part of other words: only longer ones tell.
	if host, err := os.Hostname(); err == nil && len(host) > 5 {
		secret = append(secret, host)
	}
	if u, err := user.Current(); err == nil && len(u.Username) > 5 {
		secret = append(secret, u.Username)
	}
	if dir, err := os.Getwd(); err == nil {
		secret = append(secret, dir)
	}
	for _, s := range secret {
		if strings.Contains(text, s) {
			t.Errorf("the fingerprint tells %q: %s", s, text)
		}
	}
}

func TestCPUQuota(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  float64
	}{
		"v2":              {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5},
		"v2 none":         {map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"}, 0},
		"v2 on ancestor":  {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "sys/fs/cgroup/a/cpu.max": "50000 100000"}, 0.5},
		"v2 tightest":     {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "200000 100000\n", "sys/fs/cgroup/a/cpu.max": "300000 100000"}, 2},
		"v2 in container": {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1},
		"v1":              {map[string]string{"proc/self/cgroup": "3:cpu,cpuacct:/x\n", "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "25000", "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000"}, 0.25},
		"v1 none":         {map[string]string{"proc/self/cgroup": "3:cpu:/\n0::/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 0},
	} {
		if got := fake(tc.files).cpuQuota(); got != tc.want {
			t.Errorf("%s: %v cores, want %v", name, got, tc.want)
		}
	}
}

func TestMemoryAndThrottling(t *testing.T) {
	v2 := fake(map[string]string{"proc/self/cgroup": "0::/a\n", "proc/meminfo": "MemTotal: 4096 kB\n",
		"sys/fs/cgroup/a/memory.max": "1048576\n", "sys/fs/cgroup/a/cpu.stat": "usage_usec 9\nthrottled_usec 42\n"})
	if m, th := v2.memory(), v2.throttled(); m != 1<<20 || th == nil || *th != 42 {
		t.Errorf("v2: memory %d, throttled %v", m, th)
	}
	v1 := fake(map[string]string{"proc/self/cgroup": "4:memory:/\n1:cpu:/\n", "proc/meminfo": "MemTotal: 4096 kB\n",
		"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712", "sys/fs/cgroup/cpu/cpu.stat": "nr_throttled 1\nthrottled_time 42000\n"})
	if m, th := v1.memory(), v1.throttled(); m != 4<<20 || th == nil || *th != 42 {
		t.Errorf("v1: memory %d, throttled %v", m, th)
	}
}

func TestNetCounters(t *testing.T) {
	m := fake(map[string]string{
		"proc/net/netstat":  "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 2 3\nIpExt: InNoRoutes\nIpExt: 0\n",
		"proc/net/snmp":     "Tcp: MaxConn RetransSegs\nTcp: -1 7\nUdp: RetransSegs\nOdd: 1 2\n",
		"proc/net/sockstat": "sockets: used 16\nTCP: inuse 4 orphan 0 tw 5 alloc 1 mem 102\n",
	})
	want := map[string]int64{"ListenOverflows": 2, "ListenDrops": 3, "RetransSegs": 7}
	if diff := cmp.Diff(want, m.netCounters("ListenOverflows", "ListenDrops", "RetransSegs", "TCPTimeouts")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if in, tw := m.tcpSockets(); in == nil || *in != 4 || tw == nil || *tw != 5 {
		t.Errorf("sockets %v, time wait %v", in, tw)
	}
	if in, tw := fake(nil).tcpSockets(); in != nil || tw != nil {
		t.Error("sockets of a host that does not tell")
	}
}

func TestOtherProcess(t *testing.T) {
	m := fake(map[string]string{
		"proc/7/stat": "7 (a (b) c) S 1 7 7 0 -1 0 0 0 0 0 250 50 0 0 20 0 1 0 1\n",
		"proc/8/stat": "8 (x", "proc/9/stat": "9 (x) S 1", "proc/7/fd/0": "", "proc/7/fd/1": "", "proc/self/fd/0": "", "proc/self/fd/3": "",
	})
	if s := m.cpuOf("7"); s == nil || *s != 3 {
		t.Errorf("CPU %v, want 3 s", s)
	}
	for _, pid := range []string{"8", "9", "10"} {
		if s := m.cpuOf(pid); s != nil {
			t.Errorf("CPU of %s: %v", pid, *s)
		}
	}
	if n := m.fdsByName("7"); n == nil || *n != 2 {
		t.Errorf("fds by name: %v", n)
	}
	if n := m.fdsByName("self"); n == nil || *n != 1 {
		t.Errorf("own fds by name, without the folder: %v", n)
	}
	if n := m.fds("10"); n != nil {
		t.Errorf("fds of nobody: %d", *n)
	}
}

// Counters that fall, or are missing on one side, gained nothing that is known.
func TestGain(t *testing.T) {
	if g := gain(ptr(int64(9)), ptr(int64(4))); g == nil || *g != 5 {
		t.Errorf("%v", g)
	}
	for _, pair := range [][2]*int64{{nil, ptr(int64(1))}, {ptr(int64(1)), nil}, {ptr(int64(1)), ptr(int64(2))}} {
		if g := gain(pair[0], pair[1]); g != nil {
			t.Errorf("%v", *g)
		}
	}
}

// A broker that was started anew counts from 0, not below it.
func TestBrokerStartedAnew(t *testing.T) {
	stat := func(ticks string) string { return "7 (b) S 1 7 7 0 -1 0 0 0 0 0 " + ticks + " 0 0 0 20 0 1 0 1\n" }
	pid := 7
	p := newProbe(fake(map[string]string{"proc/7/stat": stat("500"), "proc/8/stat": stat("20")}), func() int { return pid })
	var row HealthRow
	p.read(&row)
	if row.BrokerCPU == nil || *row.BrokerCPU != 0 {
		t.Errorf("idle broker: %v", row.BrokerCPU)
	}
	pid, row = 8, HealthRow{}
	p.read(&row)
	if row.BrokerCPU == nil || *row.BrokerCPU != 200_000 {
		t.Errorf("new broker: %v", row.BrokerCPU)
	}
	pid, row = 0, HealthRow{}
	p.read(&row)
	if row.BrokerCPU != nil || row.BrokerFDs != nil {
		t.Errorf("no broker: %v", *row.BrokerCPU)
	}
}

func TestModules(t *testing.T) {
	info := &debug.BuildInfo{
		Main: debug.Module{Path: "github.com/rebound-mqtt/rebound", Version: "v0.1.0"},
		Deps: []*debug.Module{
			{Path: "github.com/eclipse/paho.mqtt.golang", Version: "v1.5.1"},
			{Path: "github.com/mochi-mqtt/server/v2", Version: "v2.7.9", Replace: &debug.Module{Path: "/secret/folder"}},
			{Path: "github.com/HdrHistogram/hdrhistogram-go", Version: "v1.4.0", Replace: &debug.Module{Path: "x", Version: "v1.4.1"}},
			{Path: "example.com/other", Version: "v1.0.0"},
		},
	}
	want := map[string]string{"rebound": "v0.1.0", "paho": "v1.5.1", "mochi": "v2.7.9 (replaced)", "hdrhistogram": "v1.4.0 (replaced by v1.4.1)"}
	if diff := cmp.Diff(want, modules(info, true)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := modules(nil, false); len(got) != 0 {
		t.Errorf("without build info: %v", got)
	}
}

func TestCI(t *testing.T) {
	for _, tc := range []struct{ env, want string }{
		{"X=1", ""}, {"CI=true", "other"}, {"CI=false", ""}, {"GITLAB_CI=true", "gitlab"}, {"JENKINS_URL=http://secret", "jenkins"}, {"GITHUB_ACTIONS=", ""},
	} {
		if got := fake(nil, tc.env).ci(); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.env, got, tc.want)
		}
	}
}

func TestFDs(t *testing.T) {
	soft, hard, used := FDs()
	if soft == 0 || hard < soft {
		t.Errorf("soft %d, hard %d", soft, hard)
	}
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("SKIPPED: this host has no /proc to count open files in")
	}
	if used < 3 {
		t.Errorf("%d open files, want at least stdin, stdout and stderr", used)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, _, more := FDs(); more <= used {
		t.Errorf("%d open files, then %d with one more", used, more)
	}
}

func TestRaiseFDs(t *testing.T) {
	_, hard, _ := FDs()
	soft, err := RaiseFDs()
	if err != nil || soft != hard {
		t.Errorf("soft %d of %d: %v", soft, hard, err)
	}
	if now, _, _ := FDs(); now != soft {
		t.Errorf("the limit reads %d, want %d", now, soft)
	}
}
