// A decision service for spop-bridge: who may see what lies under /admin.
//
// It answers the message `check-request` with the args `ip`, `path` and `token`:
// paths under /admin need the token. See README.md for how to run it.
package main

//go:generate ./generate.sh

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "example.com/decisions/gen/spopbridge/v1"
)

const token = "let-me-in"

// decide decides one NOTIFY of HAProxy, many of them side by side. ctx ends when
// nobody waits for the answer any more.
func decide(_ context.Context, request *pb.DecideRequest) (*pb.DecideResponse, error) {
	args := argsOf(request, "check-request")
	if args == nil {
		return &pb.DecideResponse{}, nil // not a question for this service: no opinion
	}
	path, ok := args["path"].GetKind().(*pb.Value_StringValue)
	if !ok {
		// Costs HAProxy nothing: the bridge answers with the route's actions for `rejected`.
		return nil, status.Error(codes.InvalidArgument, "check-request came without a path")
	}
	allow, reason, score := verdict(address(args["ip"]), path.StringValue, args["token"].GetStringValue())
	return &pb.DecideResponse{Actions: []*pb.Action{
		setVar("allow", &pb.Value{Kind: &pb.Value_BoolValue{BoolValue: allow}}),
		setVar("reason", &pb.Value{Kind: &pb.Value_StringValue{StringValue: reason}}),
		setVar("score", &pb.Value{Kind: &pb.Value_Int64Value{Int64Value: score}}),
	}}, nil
}

// verdict is the rule itself. The score goes from 0 (harmless) to 100.
func verdict(ip, path, given string) (allow bool, reason string, score int64) {
	if path != "/admin" && !strings.HasPrefix(path, "/admin/") {
		return true, "public path", 0
	}
	if given == token {
		return true, "token accepted", 10
	}
	return false, "admin path without token from " + ip, 100
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

// address reads an IPv4 or IPv6 arg; a sample that HAProxy could not fetch is `unknown`.
func address(value *pb.Value) string {
	switch kind := value.GetKind().(type) {
	case *pb.Value_Ipv4Value:
		return net.IP(kind.Ipv4Value).String()
	case *pb.Value_Ipv6Value:
		return net.IP(kind.Ipv6Value).String()
	default:
		return "unknown"
	}
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
	go func() {
		<-ctx.Done()
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
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	rule := decide
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" {
		var flush func()
		rule, flush = traced(decide)
		defer flush()
	}
	err := serve(ctx, *listen, rule, func(address string) { fmt.Println("listening on", address) })
	if err != nil {
		log.Fatalf("cannot serve on %s: %v", *listen, err)
	}
}
