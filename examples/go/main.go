// A decision service for spop-bridge: bad addresses, API keys for /admin, a
// rate limit.
//
// It answers the message `check-request` with the args `ip`, `path` and `token`.
// ../README.md says what it decides, README.md how to run it.
package main

//go:generate ./generate.sh

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "example.com/decisions/gen/spopbridge/v1"
)

// checkRequest decides. Blocklist and keys may be replaced while it does.
type checkRequest struct {
	blocklist atomic.Pointer[blocklist]
	keys      atomic.Pointer[keys]
	limit     *limit
}

func newCheckRequest(limit *limit) *checkRequest {
	c, keys := &checkRequest{limit: limit}, defaultKeys()
	c.blocklist.Store(&blocklist{})
	c.keys.Store(&keys)
	return c
}

// decide decides one NOTIFY of HAProxy, many of them side by side. ctx ends when
// nobody waits for the answer any more.
func (c *checkRequest) decide(_ context.Context, request *pb.DecideRequest) (*pb.DecideResponse, error) {
	args := argsOf(request, "check-request")
	if args == nil {
		return &pb.DecideResponse{}, nil // not a question for this service: no opinion
	}
	path, ok := args["path"].GetKind().(*pb.Value_StringValue)
	if !ok {
		// Costs HAProxy nothing: the bridge answers with the route's actions for `rejected`.
		return nil, status.Error(codes.InvalidArgument, "check-request came without a path")
	}
	verdict := c.verdict(address(args["ip"]), path.StringValue, exactBytes(args["token"]))
	actions := []*pb.Action{
		setVar("allow", &pb.Value{Kind: &pb.Value_BoolValue{BoolValue: verdict.allow}}),
		setVar("reason", &pb.Value{Kind: &pb.Value_StringValue{StringValue: verdict.reason}}),
		setVar("score", &pb.Value{Kind: &pb.Value_Int64Value{Int64Value: verdict.score}}),
	}
	if verdict.retryAfter > 0 {
		actions = append(actions, setVar("retry_after", &pb.Value{Kind: &pb.Value_Int64Value{Int64Value: verdict.retryAfter}}))
	}
	return &pb.DecideResponse{Actions: actions}, nil
}

type verdict struct {
	allow      bool
	reason     string
	score      int64 // from 0 (harmless) to 100
	retryAfter int64 // seconds, if rate-limited
}

// verdict is the rule itself.
func (c *checkRequest) verdict(ip netip.Addr, path string, token []byte) verdict {
	if entry := c.blocklist.Load().entry(ip); entry != "" {
		return verdict{false, "listed: " + entry, 100, 0}
	}
	client, owner := clientOf(ip), c.keys.Load().nameOf(token)
	if owner != "" {
		client = "key " + owner
	}
	// Before keys are judged, so that they cannot be guessed any faster.
	if retryAfter := c.limit.take(client); retryAfter > 0 {
		return verdict{false, "rate limit", 50, retryAfter}
	}
	// By segments: `//admin` and `/x/../admin` are the same place to most applications.
	if !strings.Contains("/"+strings.ToLower(path)+"/", "/admin/") {
		return verdict{true, "public path", 0, 0}
	}
	if owner != "" {
		return verdict{true, "token accepted", 10, 0}
	}
	from := "unknown"
	if ip.IsValid() {
		from = ip.String()
	}
	return verdict{false, "admin path without token from " + from, 100, 0}
}

// argsOf gives the args of the first message of that name, by their names; nil
// without such a message.
func argsOf(request *pb.DecideRequest, messageName string) map[string]*pb.Value {
	for _, message := range request.GetMessages() {
		if message.GetName() != messageName {
			continue
		}
		args := make(map[string]*pb.Value)
		for _, arg := range message.GetArgs() {
			args[arg.GetName()] = arg.GetValue()
		}
		return args
	}
	return nil
}

// address reads an address, also one that came as text (`ip=req.hdr(x-real-ip)`).
// IPv4 in IPv6 (::ffff:192.0.2.1) is IPv4: HAProxy has it so on an IPv6 socket.
func address(value *pb.Value) (ip netip.Addr) {
	switch kind := value.GetKind().(type) {
	case *pb.Value_Ipv4Value:
		ip, _ = netip.AddrFromSlice(kind.Ipv4Value)
	case *pb.Value_Ipv6Value:
		ip, _ = netip.AddrFromSlice(kind.Ipv6Value)
	case *pb.Value_StringValue:
		ip, _ = netip.ParseAddr(kind.StringValue)
		if ip.Zone() != "" {
			return netip.Addr{}
		}
	}
	return ip.Unmap()
}

// exactBytes are those that HAProxy sent, also where they are not UTF-8.
func exactBytes(value *pb.Value) []byte {
	if raw := value.GetRawString(); len(raw) > 0 {
		return raw
	}
	return []byte(value.GetStringValue())
}

// setVar sets txn.<option var-prefix>.<name> in HAProxy.
func setVar(name string, value *pb.Value) *pb.Action {
	return &pb.Action{Action: &pb.Action_SetVar{SetVar: &pb.SetVar{
		Scope: pb.VarScope_VAR_SCOPE_TRANSACTION,
		Name:  name,
		Value: value,
	}}}
}

// serve serves on `host:port` or `unix:path` until ctx is done; decisions under way may finish.
func serve(ctx context.Context, listen string, rule rule, ready func(address string)) error {
	listener, err := bind(listen)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	decisions := &decisions{decide: rule, leaving: make(chan struct{})}
	pb.RegisterDecisionServiceServer(server, decisions)
	healthy := health.NewServer() // "" is serving from the start
	healthy.SetServingStatus("spopbridge.v1.DecisionService", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, healthy)
	go func() {
		<-ctx.Done()
		healthy.Shutdown() // NOT_SERVING: bridges that ask for it go elsewhere
		time.Sleep(500 * time.Millisecond)
		// GracefulStop sends GOAWAY: bridges get a second to go elsewhere. Then
		// streams end once they are quiet, and five seconds are all there is.
		time.AfterFunc(time.Second, func() { close(decisions.leaving) })
		time.AfterFunc(5*time.Second, server.Stop)
		server.GracefulStop()
	}()
	if listener.Addr().Network() == "unix" {
		ready("unix:" + listener.Addr().String())
	} else {
		ready(listener.Addr().String())
	}
	return server.Serve(listener)
}

func bind(listen string) (net.Listener, error) {
	path := strings.TrimPrefix(listen, "unix:")
	if path == listen {
		return net.Listen("tcp", listen)
	}
	// A socket file left by a process that was killed is in the way.
	if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	return net.Listen("unix", path)
}

func main() {
	listen := flag.String("listen", "127.0.0.1:50051", "host:port (port 0: any free one) or unix:path")
	blocklistFile := flag.String("blocklist", "", "`file` of addresses and networks to refuse, one a line; read again when it changes")
	keysFile := flag.String("keys", "", "`file` of lines \"name sha256-of-key\"; read again when it changes; default: the key let-me-in")
	rate := flag.Float64("rate", 0, "requests a second for each client; default: no limit")
	burst := flag.Float64("burst", 0, "requests at once for each client; default: the rate, at least 1")
	flag.Parse()
	log.SetFlags(0)
	if !(*rate >= 0 && *rate < math.Inf(1)) || *burst != 0 && !(*burst >= 1 && *burst < math.Inf(1)) {
		log.Fatal("-rate must be at least 0, -burst at least 1")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	service := newCheckRequest(newLimit(*rate, *burst))
	for _, err := range []error{
		watchInto(ctx, *blocklistFile, parseBlocklist, &service.blocklist),
		watchInto(ctx, *keysFile, parseKeys, &service.keys),
	} {
		if err != nil {
			log.Fatal(err)
		}
	}
	rule := service.decide
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" {
		var flush func()
		rule, flush = traced(rule)
		defer flush()
	}
	err := serve(ctx, *listen, rule, func(address string) { fmt.Println("listening on", address) })
	if err != nil {
		log.Fatalf("cannot serve on %s: %v", *listen, err)
	}
}

// watchInto reads a file, if there is one to read, now and when it changes.
func watchInto[T any](ctx context.Context, path string, parse func(string, []byte) (T, error), into *atomic.Pointer[T]) error {
	if path == "" {
		return nil
	}
	file, err := watch(path, func(name string, text []byte) error {
		parsed, err := parse(name, text)
		if err == nil {
			into.Store(&parsed)
		}
		return err
	})
	if err == nil {
		go file.run(ctx, time.Second)
	}
	return err
}
