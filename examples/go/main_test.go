package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "example.com/decisions/gen/spopbridge/v1"
)

// start runs the service on a real socket; the client and the stop end with the test.
func start(t *testing.T, listen string) (client pb.DecisionServiceClient, stop func() error) {
	t.Helper()
	return startWith(t, listen, newCheckRequest(newLimit(0, 0)).decide)
}

func startWith(t *testing.T, listen string, rule rule) (client pb.DecisionServiceClient, stop func() error) {
	t.Helper()
	address, stop := startServer(t, listen, rule)
	return pb.NewDecisionServiceClient(dial(t, address)), stop
}

func startServer(t *testing.T, listen string, rule rule) (address string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ready := make(chan string, 1)
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listen, rule, func(address string) { ready <- address }) }()
	stop = func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(10 * time.Second):
			return errors.New("the service does not stop")
		}
	}
	select {
	case address = <-ready:
	case err := <-ended:
		t.Fatalf("the service ended: %v", err)
	}
	return address, stop
}

func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

func request(args ...*pb.Arg) *pb.DecideRequest {
	return &pb.DecideRequest{
		Origin:   &pb.Origin{Listener: "test"},
		Messages: []*pb.Message{{Name: "check-request", Args: args}},
	}
}

func text(name, value string) *pb.Arg {
	return &pb.Arg{Name: name, Value: &pb.Value{Kind: &pb.Value_StringValue{StringValue: value}}}
}

func absent(name string) *pb.Arg {
	return &pb.Arg{Name: name, Value: &pb.Value{Kind: &pb.Value_NullValue{}}}
}

func ipv4(text string) *pb.Arg {
	return &pb.Arg{Name: "ip", Value: &pb.Value{Kind: &pb.Value_Ipv4Value{Ipv4Value: net.ParseIP(text).To4()}}}
}

func ipv6(text string) *pb.Arg {
	return &pb.Arg{Name: "ip", Value: &pb.Value{Kind: &pb.Value_Ipv6Value{Ipv6Value: net.ParseIP(text)}}}
}

func decided(t *testing.T, client pb.DecisionServiceClient, args ...*pb.Arg) map[string]*pb.Value {
	t.Helper()
	response, err := client.Decide(context.Background(), request(args...))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]*pb.Value{}
	for _, action := range response.GetActions() {
		values[action.GetSetVar().GetName()] = action.GetSetVar().GetValue()
	}
	return values
}

// arg reads what conformance.json has: `kind:text`, or null.
func arg(name string, described *string) *pb.Arg {
	if described == nil {
		return absent(name)
	}
	kind, content, _ := strings.Cut(*described, ":")
	switch kind {
	case "ipv4":
		return ipv4(content)
	case "ipv6":
		return ipv6(content)
	case "string":
		return text(name, content)
	default:
		return text(name, *described)
	}
}

func TestItDecidesAsTheOthers(t *testing.T) {
	rule := newCheckRequest(newLimit(0, 0))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, lines := range map[string][]string{"blocklist": conformance.Blocklist, "keys": conformance.Keys} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, joined(lines), 0o600); err != nil {
			t.Fatal(err)
		}
		err := watchInto(ctx, path, parseBlocklist, &rule.blocklist)
		if name == "keys" {
			err = watchInto(ctx, path, parseKeys, &rule.keys)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	client, _ := startWith(t, "127.0.0.1:0", rule.decide)
	for _, c := range conformance.Decisions {
		got := decided(t, client, arg("ip", c.Args["ip"]), arg("path", c.Args["path"]), arg("token", c.Args["token"]))
		allow, reason, score := got["allow"].GetBoolValue(), got["reason"].GetStringValue(), got["score"].GetInt64Value()
		if allow != c.Allow || reason != c.Reason || score != c.Score || got["retry_after"] != nil {
			t.Errorf("%s: got %v %q %v, expected %v %q %v", c.What, allow, reason, score, c.Allow, c.Reason, c.Score)
		}
	}
}

func TestAnEmptyBucketSaysWhenToComeAgain(t *testing.T) {
	client, _ := startWith(t, "127.0.0.1:0", newCheckRequest(newLimit(0.01, 2)).decide)
	ask := func(args ...*pb.Arg) map[string]*pb.Value {
		return decided(t, client, append(args, text("path", "/"))...)
	}
	ask(ipv4("192.0.2.7"))
	if last := ask(ipv4("192.0.2.7")); !last["allow"].GetBoolValue() || last["retry_after"] != nil {
		t.Errorf("the second of a burst of two: %v", last)
	}
	limited := ask(ipv4("192.0.2.7"))
	if limited["allow"].GetBoolValue() || limited["reason"].GetStringValue() != "rate limit" || limited["score"].GetInt64Value() != 50 {
		t.Errorf("the third: %v", limited)
	}
	if seconds := limited["retry_after"].GetInt64Value(); seconds < 90 || seconds > 100 {
		t.Errorf("come again in %d s", seconds)
	}
	if other := ask(ipv4("192.0.2.8")); !other["allow"].GetBoolValue() {
		t.Errorf("another client: %v", other)
	}
	if known := ask(ipv4("192.0.2.7"), text("token", "let-me-in")); !known["allow"].GetBoolValue() {
		t.Errorf("a client with a key: %v", known)
	}
}

func TestBytesThatAreNotUTF8AreNoKey(t *testing.T) {
	client, _ := start(t, "127.0.0.1:0")
	fooled := text("token", "let-me-in")
	fooled.Value.RawString = []byte("let-me-in\xff")
	if decided(t, client, text("path", "/admin"), fooled)["allow"].GetBoolValue() {
		t.Error("the replaced text counted")
	}
}

func TestItSaysServingAndThenNotServing(t *testing.T) {
	address, stop := startServer(t, "127.0.0.1:0", newCheckRequest(newLimit(0, 0)).decide)
	client := healthpb.NewHealthClient(dial(t, address))
	for _, name := range []string{"", "spopbridge.v1.DecisionService"} {
		answer, err := client.Check(context.Background(), &healthpb.HealthCheckRequest{Service: name})
		if err != nil || answer.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%q: got %v, %v", name, answer, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watch, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := watch.Recv()
	if err != nil || first.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("got %v, %v", first, err)
	}
	go stop()
	last, err := watch.Recv()
	if err != nil || last.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("got %v, %v", last, err)
	}
}

func TestRequestWithoutPathIsRefused(t *testing.T) {
	client, _ := start(t, "127.0.0.1:0")
	_, err := client.Decide(context.Background(), request(absent("path")))
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v, expected InvalidArgument", err)
	}
}

func TestNoOpinionOnOtherMessages(t *testing.T) {
	client, _ := start(t, "127.0.0.1:0")
	other := &pb.DecideRequest{Messages: []*pb.Message{{Name: "check-body"}}}
	response, err := client.Decide(context.Background(), other)
	if err != nil || len(response.GetActions()) != 0 {
		t.Errorf("got %v and %v, expected no action and no error", response, err)
	}
}

func TestUnixSocketAlsoOverAStaleFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "decisions.sock")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	client, _ := start(t, "unix:"+path)
	if _, err := client.Decide(context.Background(), request(text("path", "/"))); err != nil {
		t.Error(err)
	}
}

func TestItStopsWhenTold(t *testing.T) {
	client, stop := start(t, "127.0.0.1:0")
	if _, err := client.Decide(context.Background(), request(text("path", "/"))); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Errorf("the stop ended with %v", err)
	}
}

func TestItStopsWhenToldAlsoWithAStreamOpen(t *testing.T) {
	client, stop := start(t, "127.0.0.1:0")
	stream, err := client.DecideStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	decision := &pb.Decision{Id: 1, RemainingUs: 10_000_000, Request: request(text("path", "/"))}
	if err := stream.Send(&pb.DecideStreamRequest{Item: &pb.DecideStreamRequest_Decision{Decision: decision}}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil || !answer.GetResponse().GetActions()[0].GetSetVar().GetValue().GetBoolValue() {
		t.Fatalf("got %v, %v", answer, err)
	}
	if err := stop(); err != nil {
		t.Errorf("the stop ended with %v", err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("the stream ended with %v, expected OK", err)
	}
}
