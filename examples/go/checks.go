package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"math"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// The three checks of the example: a list of addresses, API keys, a token
// bucket for each client. None of it knows gRPC. What it must do, to the
// second, stands in ../conformance.json.

// lines gives the number and content of each line that says something, and
// collects what say finds wrong.
func lines(name string, text []byte, say func(line string) error) error {
	var bad []string
	for number, line := range strings.Split(string(text), "\n") {
		content, _, _ := strings.Cut(line, "#")
		if content = strings.TrimSpace(content); content == "" {
			continue
		}
		if err := say(content); err != nil {
			bad = append(bad, fmt.Sprintf("%s:%d: %v", name, number+1, err))
		}
	}
	if len(bad) > 0 {
		return errors.New(strings.Join(bad, "\n"))
	}
	return nil
}

// blocklist holds addresses and networks with the lines that list them.
type blocklist map[netip.Prefix]string

func parseBlocklist(name string, text []byte) (blocklist, error) {
	list := blocklist{}
	err := lines(name, text, func(line string) error {
		network, err := netip.ParsePrefix(line)
		if address, failed := netip.ParseAddr(line); failed == nil && address.Zone() == "" {
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil || network != network.Masked() || network.Addr().Is4In6() {
			return fmt.Errorf("not an address or a network (without host bits): %s", line)
		}
		if _, known := list[network]; !known {
			list[network] = line
		}
		return nil
	})
	return list, err
}

// entry is the line of the smallest network that holds this address, or empty.
func (b blocklist) entry(ip netip.Addr) string {
	for bits := ip.BitLen(); ip.IsValid() && bits >= 0; bits-- {
		network, _ := ip.Prefix(bits)
		if line, ok := b[network]; ok {
			return line
		}
	}
	return ""
}

// keys are API keys, of which only the SHA-256 is known. Two keys of one name
// do: the old one and the new one.
type keys []struct {
	name   string
	digest [sha256.Size]byte
}

func defaultKeys() keys {
	return keys{{"default", sha256.Sum256([]byte("let-me-in"))}}
}

func parseKeys(name string, text []byte) (keys, error) {
	var all keys
	err := lines(name, text, func(line string) error {
		fields := strings.Fields(line)
		// The line is not shown: it may be a key.
		wrong := errors.New("expected a name and the SHA-256 of a key, in hex")
		if len(fields) != 2 {
			return wrong
		}
		digest, err := hex.DecodeString(fields[1])
		if err != nil || len(digest) != sha256.Size {
			return wrong
		}
		for _, earlier := range all {
			if bytes.Equal(earlier.digest[:], digest) {
				return errors.New("the key of an earlier line")
			}
		}
		all = append(all, struct {
			name   string
			digest [sha256.Size]byte
		}{fields[0], *(*[sha256.Size]byte)(digest)})
		return nil
	})
	return all, err
}

// nameOf says whose key this is; empty for nobody's. It takes as long for any
// key as for none.
func (k keys) nameOf(token []byte) (name string) {
	given := sha256.Sum256(token)
	for _, key := range k {
		if subtle.ConstantTimeCompare(given[:], key.digest[:]) == 1 && len(token) > 0 {
			name = key.name
		}
	}
	return name
}

// clientOf says whom a bucket is for: an IPv4 address, or an IPv6 /64, which is
// what one customer has.
func clientOf(ip netip.Addr) string {
	switch {
	case !ip.IsValid():
		return "unknown"
	case ip.Is4():
		return ip.String()
	default:
		network, _ := ip.Prefix(64)
		return network.String()
	}
}

// limit is a token bucket for each client: rate tokens a second, burst at most.
//
// Buckets are in two generations of half each: when the young one is full it
// becomes the old one, and the old one is forgotten. So there is room for a
// flood of addresses, and a client among the last half keeps its bucket.
type limit struct {
	rate, burst float64
	half        int
	now         func() float64 // seconds

	mutex      sync.Mutex
	young, old map[string]bucket
}

type bucket struct{ tokens, since float64 }

const maxClients = 100_000

// newLimit makes no limit of a rate of 0; a burst of 0 is the rate, at least 1.
func newLimit(rate, burst float64) *limit {
	if burst == 0 {
		burst = math.Max(1, math.Ceil(rate))
	}
	start := time.Now()
	now := func() float64 { return time.Since(start).Seconds() }
	return &limit{rate: rate, burst: burst, half: maxClients / 2, now: now, young: map[string]bucket{}}
}

// take gives 0 if there was a token, else the whole seconds until there is one.
func (l *limit) take(client string) (retryAfter int64) {
	if l.rate == 0 {
		return 0
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	now := l.now()
	b, young := l.young[client]
	if !young {
		known := false
		if b, known = l.old[client]; !known {
			b = bucket{l.burst, now}
		}
	}
	b = bucket{math.Min(l.burst, b.tokens+(now-b.since)*l.rate), now}
	if b.tokens >= 1 {
		b.tokens--
	} else {
		retryAfter = int64(math.Max(1, math.Ceil((1-b.tokens)/l.rate)))
	}
	if !young && len(l.young) >= l.half {
		l.young, l.old = map[string]bucket{}, l.young
	}
	l.young[client] = b
	return retryAfter
}

// watched is a file that is read again when it changes, also by a symlink as
// Kubernetes swaps them. What is wrong then leaves the old content.
type watched struct {
	path string
	seen os.FileInfo
	// Takes the content, now and at each change.
	use func(name string, text []byte) error
}

func watch(path string, use func(name string, text []byte) error) (*watched, error) {
	seen, _ := os.Stat(path)
	w := &watched{path, seen, use}
	return w, w.read()
}

func (w *watched) read() error {
	text, err := os.ReadFile(w.path)
	if err != nil {
		return err
	}
	return w.use(w.path, text)
}

func (w *watched) run(ctx context.Context, every time.Duration) {
	for ticker := time.NewTicker(every); ; {
		select {
		case <-ctx.Done():
			ticker.Stop()
			return
		case <-ticker.C:
		}
		state, _ := os.Stat(w.path)
		if w.seen == nil && state == nil || w.seen != nil && state != nil && os.SameFile(w.seen, state) &&
			w.seen.ModTime() == state.ModTime() && w.seen.Size() == state.Size() {
			continue
		}
		w.seen = state // of before it is read: a change meanwhile is seen the next time
		if err := w.read(); err != nil {
			log.Printf("%v\n%s: the old content stays", err, w.path)
		} else {
			log.Printf("%s: read again", w.path)
		}
	}
}
