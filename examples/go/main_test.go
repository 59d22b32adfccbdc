package main

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "example.com/decisions/gen/spopbridge/v1"
)

// start runs the service on a real socket; the client and the stop end with the test.
func start(t *testing.T, listen string) (client pb.DecisionServiceClient, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan string, 1)
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listen, decide, func(address string) { ready <- address }) }()
	stop = func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(10 * time.Second):
			t.Fatal("the service does not stop")
			return nil
		}
	}
	var address string
	select {
	case address = <-ready:
	case err := <-ended:
		t.Fatalf("the service ended: %v", err)
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close(); cancel() })
	return pb.NewDecisionServiceClient(connection), stop
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

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []*pb.Arg
		allow  bool
		reason string
		score  int64
	}{
		{"public", []*pb.Arg{ipv4("192.0.2.7"), text("path", "/"), absent("token")}, true, "public path", 0},
		{"only named alike", []*pb.Arg{text("path", "/administrator")}, true, "public path", 0},
		{"no token", []*pb.Arg{ipv6("2001:db8::1"), text("path", "/admin/users"), absent("token")},
			false, "admin path without token from 2001:db8::1", 100},
		{"wrong token", []*pb.Arg{ipv4("192.0.2.7"), text("path", "/admin"), text("token", "guess")},
			false, "admin path without token from 192.0.2.7", 100},
		{"token", []*pb.Arg{ipv4("192.0.2.7"), text("path", "/admin"), text("token", "let-me-in")}, true, "token accepted", 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, _ := start(t, "127.0.0.1:0")
			response, err := client.Decide(context.Background(), request(c.args...))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]*pb.Value{}
			for _, action := range response.GetActions() {
				got[action.GetSetVar().GetName()] = action.GetSetVar().GetValue()
			}
			allow, reason, score := got["allow"].GetBoolValue(), got["reason"].GetStringValue(), got["score"].GetInt64Value()
			if allow != c.allow || reason != c.reason || score != c.score {
				t.Errorf("got %v %q %v, expected %v %q %v", allow, reason, score, c.allow, c.reason, c.score)
			}
		})
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
