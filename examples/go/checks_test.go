package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// conformance is ../conformance.json: what all examples must do alike.
var conformance = func() (all struct {
	Blocklist    []string
	Listed       []struct{ IP, Entry *string }
	BadBlocklist badFile `json:"bad_blocklist"`
	Keys         []string
	Tokens       []struct{ Token, Name *string }
	BadKeys      badFile `json:"bad_keys"`
	Clients      []struct {
		IP     *string
		Client string
	}
	Limits []struct {
		What        string
		Rate, Burst float64
		Max         int
		Takes       []struct {
			At         float64
			Client     string
			RetryAfter int64 `json:"retry_after"`
		}
	}
	Decisions []struct {
		What   string
		Args   map[string]*string
		Allow  bool
		Reason string
		Score  int64
	}
}) {
	text, err := os.ReadFile("../conformance.json")
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		panic(err)
	}
	return all
}()

type badFile struct {
	Lines []string
	Bad   []int
}

func joined(lines []string) []byte { return []byte(strings.Join(lines, "\n") + "\n") }

func or(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

func ipOf(described *string) netip.Addr {
	if described == nil {
		return netip.Addr{}
	}
	return address(arg("ip", described).GetValue())
}

func TestTheBlocklistFindsTheSmallestNetwork(t *testing.T) {
	list, err := parseBlocklist("list", joined(conformance.Blocklist))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range conformance.Listed {
		if got := list.entry(ipOf(c.IP)); got != or(c.Entry) {
			t.Errorf("%q: got %q, expected %q", or(c.IP), got, or(c.Entry))
		}
	}
}

func TestBadLinesAreNamed(t *testing.T) {
	_, blocklistErr := parseBlocklist("a.txt", joined(conformance.BadBlocklist.Lines))
	_, keysErr := parseKeys("a.txt", joined(conformance.BadKeys.Lines))
	for err, expected := range map[error][]int{blocklistErr: conformance.BadBlocklist.Bad, keysErr: conformance.BadKeys.Bad} {
		var named []int
		for _, line := range strings.Split(err.Error(), "\n") {
			number, _ := strconv.Atoi(strings.Split(line, ":")[1])
			named = append(named, number)
		}
		if !reflect.DeepEqual(named, expected) {
			t.Errorf("got %v, expected %v of\n%v", named, expected, err)
		}
		if strings.Contains(err.Error(), "let-me-in") {
			t.Errorf("a key is shown: %v", err)
		}
	}
}

func TestKeysAreKnownByTheirHash(t *testing.T) {
	all, err := parseKeys("keys", joined(conformance.Keys))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range conformance.Tokens {
		if got := all.nameOf([]byte(or(c.Token))); got != or(c.Name) {
			t.Errorf("%q: got %q, expected %q", or(c.Token), got, or(c.Name))
		}
	}
	if got := defaultKeys().nameOf([]byte("let-me-in")); got != "default" {
		t.Errorf("got %q", got)
	}
}

func TestWhomABucketIsFor(t *testing.T) {
	for _, c := range conformance.Clients {
		if got := clientOf(ipOf(c.IP)); got != c.Client {
			t.Errorf("%q: got %q, expected %q", or(c.IP), got, c.Client)
		}
	}
}

func TestTheBucketIsExact(t *testing.T) {
	for _, c := range conformance.Limits {
		limit, now := newLimit(c.Rate, c.Burst), 0.0
		limit.half, limit.now = c.Max/2, func() float64 { return now }
		for number, take := range c.Takes {
			now = take.At
			if got := limit.take(take.Client); got != take.RetryAfter {
				t.Fatalf("%s, %d: got %d, expected %d", c.What, number, got, take.RetryAfter)
			}
		}
	}
}

func TestAFloodOfClientsFillsNoMemory(t *testing.T) {
	limit := newLimit(1, 1)
	limit.half = 500
	for client := 0; client < 10_000; client++ {
		limit.take(strconv.Itoa(client))
		if held := len(limit.young) + len(limit.old); held > 1000 {
			t.Fatalf("%d buckets", held)
		}
	}
}

func TestBurstIsTheRateUnlessItIsGiven(t *testing.T) {
	for rate, expected := range map[float64]float64{0: 1, 0.5: 1, 2.5: 3, 10: 10} {
		if got := newLimit(rate, 0).burst; got != expected {
			t.Errorf("%v: got %v", rate, got)
		}
	}
}

func TestAFileIsReadAgainAndABadOneIsNotTaken(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "list")
	// As Kubernetes does it: a link goes elsewhere.
	swap := func(text string) {
		t.Helper()
		file := filepath.Join(folder, strconv.Itoa(len(text)))
		for _, err := range []error{
			os.WriteFile(file, []byte(text), 0o600), os.Symlink(file, path+".new"), os.Rename(path+".new", path),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	logged := &lockedBuffer{}
	log.SetOutput(logged)
	defer log.SetOutput(os.Stderr)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	used := make(chan blocklist, 10)
	swap("192.0.2.1\n")
	file, err := watch(path, func(name string, text []byte) error {
		list, err := parseBlocklist(name, text)
		if err == nil {
			used <- list
		}
		return err
	})
	if err != nil || len(<-used) != 1 {
		t.Fatal(err)
	}
	go file.run(ctx, time.Millisecond)
	wait := func(what string, condition func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s", what, logged.String())
			}
		}
	}
	swap("192.0.2.11\nnonsense\n")
	wait("the bad line is named", func() bool { return strings.Contains(logged.String(), "list:2: not an address") })
	if len(used) > 0 {
		t.Error("a bad file was taken")
	}
	swap("192.0.2.111\n")
	select {
	case list := <-used:
		if list.entry(netip.MustParseAddr("192.0.2.111")) == "" {
			t.Errorf("got %v", list)
		}
	case <-time.After(patience):
		t.Fatal("it is not read again")
	}
	os.Remove(path)
	wait("that it is gone is said", func() bool { return strings.Contains(logged.String(), "no such file") })
}

type lockedBuffer struct {
	mutex sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.Buffer.String()
}
