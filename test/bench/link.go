package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// link joins two network namespaces by two TUN devices with this process between them: the
// kernel's own TCP and UDP run end to end over a wire that has a delay, a rate, a queue
// that drops at its tail, and loss.
type link struct {
	client, server     string // the namespaces
	clientIP, serverIP string
	device             string // its name in either namespace
	now                atomic.Pointer[shape]
	ends               []*os.File
	wires              sync.WaitGroup
}

// shape is what the link is like; it can change while the link is silent.
type shape struct {
	rtt, queue time.Duration
	rate       float64 // Mbit/s each way
	loss       float64 // share of packets, each way
}

func (s shape) String() string {
	text := fmt.Sprintf("%d ms", s.rtt.Milliseconds())
	if s.loss > 0 {
		text += fmt.Sprintf(", %g %% loss", s.loss*100)
	}
	if s.rate != fullRate {
		text += fmt.Sprintf(", %g Mbit/s", s.rate)
	}
	return text
}

// fullRate is that of a link of which nothing is said.
const fullRate = 20

const device = "wire"

func openLink(o *options) (_ *link, err error) {
	run := os.Getpid()
	l := &link{
		client: fmt.Sprintf("segue-c%d", run), server: fmt.Sprintf("segue-s%d", run), device: device,
		clientIP: fmt.Sprintf("10.%d.%d.1", 200+run/250%50, run%250), serverIP: fmt.Sprintf("10.%d.%d.2", 200+run/250%50, run%250),
	}
	l.now.Store(&o.shape)
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	for _, end := range []struct{ ns, ip string }{{l.client, l.clientIP}, {l.server, l.serverIP}} {
		// The name is that of the run until the device is in its namespace.
		name := fmt.Sprintf("sg%s%d", end.ns[6:7], run)
		f, err := tun(name)
		if err != nil {
			return nil, err
		}
		l.ends = append(l.ends, f)
		for _, cmd := range []string{
			"netns add " + end.ns,
			"link set " + name + " netns " + end.ns,
			"-n " + end.ns + " link set " + name + " name " + device,
			"-n " + end.ns + " link set lo up",
			"-n " + end.ns + " addr add " + end.ip + "/24 dev " + device,
			"-n " + end.ns + " link set " + device + " mtu 1500 txqueuelen 10000 up",
		} {
			if err := ip(strings.Fields(cmd)...); err != nil {
				return nil, err
			}
		}
	}
	l.wires.Go(func() { l.carry(l.ends[0], l.ends[1]) })
	l.wires.Go(func() { l.carry(l.ends[1], l.ends[0]) })
	return l, nil
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// initcwnd sets what the server's TCP may send first, in segments.
func (l *link) initcwnd(segments int) error {
	to := l.serverIP[:strings.LastIndexByte(l.serverIP, '.')] + ".0/24"
	return ip("-n", l.server, "route", "change", to, "dev", l.device, "src", l.serverIP, "initcwnd", fmt.Sprint(segments))
}

// in makes a command that runs in a namespace. It ends with ctx, gently first.
func (l *link) in(ctx context.Context, ns, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", ns, program}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	return cmd
}

func (l *link) close() error {
	var err error
	for _, f := range l.ends {
		err = errors.Join(err, f.Close())
	}
	l.wires.Wait()
	for _, ns := range []string{l.client, l.server} {
		if _, e := os.Stat("/run/netns/" + ns); e == nil {
			err = errors.Join(err, ip("netns", "del", ns))
		}
	}
	return err
}

// tun opens a TUN device; it is gone when the file is closed.
func tun(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("name TUN device: %w", err), unix.Close(fd))
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(req))); errno != 0 {
		return nil, errors.Join(fmt.Errorf("make TUN device: %w", errno), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

// packet is on its way.
type packet struct {
	due time.Time
	b   []byte
}

// carry takes packets from one end to the other until either is closed.
func (l *link) carry(from, to *os.File) {
	way := make(chan packet, 1<<16)
	l.wires.Go(func() {
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.b); errors.Is(err, os.ErrClosed) {
				break
			}
		}
		for range way { // what is still on its way is lost
		}
	})
	defer close(way)
	var free time.Time // when the wire has sent all before
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		now, is := time.Now(), l.now.Load()
		if rand.Float64() < is.loss { //nolint:gosec // loss need not be secret
			continue
		}
		if free.Before(now) {
			free = now
		}
		if free.Sub(now) > is.queue {
			continue
		}
		if is.rate > 0 {
			free = free.Add(time.Duration(float64(n*8) / is.rate * float64(time.Microsecond)))
		}
		way <- packet{free.Add(is.rtt / 2), append([]byte(nil), buf[:n]...)}
	}
}
