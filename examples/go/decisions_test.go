package main

import (
	"context"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "example.com/decisions/gen/spopbridge/v1"
)

const patience = 20 * time.Second

// desk decides what the name of the first message says, and knows what is under way.
type desk struct {
	open, begun atomic.Int32
	release     chan struct{}
}

func (d *desk) decide(ctx context.Context, request *pb.DecideRequest) (*pb.DecideResponse, error) {
	d.begun.Add(1)
	d.open.Add(1)
	defer d.open.Add(-1)
	what, detail, _ := strings.Cut(request.GetMessages()[0].GetName(), " ")
	var wait <-chan time.Time
	switch what {
	case "now":
		return &pb.DecideResponse{}, nil
	case "panic":
		panic("a bug")
	case "refuse":
		return nil, status.Error(codes.ResourceExhausted, "too much")
	case "wait":
		delay, _ := time.ParseDuration(detail)
		wait = time.After(delay)
	}
	select {
	case <-wait:
	case <-d.release:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return &pb.DecideResponse{}, nil
}

// conversation is one stream, from the bridge's side.
type conversation struct {
	pb.DecisionService_DecideStreamClient
	t         *testing.T
	desk      *desk
	decisions *decisions
	client    pb.DecisionServiceClient
	breakOff  context.CancelFunc
}

func converse(t *testing.T) *conversation {
	t.Helper()
	desk := &desk{release: make(chan struct{})}
	decisions := &decisions{decide: desk.decide, leaving: make(chan struct{})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterDecisionServiceServer(server, decisions)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	client := pb.NewDecisionServiceClient(connection)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	stream, err := client.DecideStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &conversation{stream, t, desk, decisions, client, cancel}
}

func (c *conversation) ask(id uint64, what string, remaining time.Duration) {
	c.t.Helper()
	request := &pb.DecideRequest{Messages: []*pb.Message{{Name: what}}}
	decision := &pb.Decision{Id: id, RemainingUs: uint64(remaining.Microseconds()), Request: request}
	c.send(&pb.DecideStreamRequest{Item: &pb.DecideStreamRequest_Decision{Decision: decision}})
}

func (c *conversation) send(item *pb.DecideStreamRequest) {
	c.t.Helper()
	if err := c.Send(item); err != nil {
		c.t.Fatal(err)
	}
}

func (c *conversation) next() *pb.DecideStreamResponse {
	c.t.Helper()
	answer, err := c.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	return answer
}

func (c *conversation) expect(ids ...uint64) {
	c.t.Helper()
	for _, id := range ids {
		if answer := c.next(); answer.GetId() != id || answer.GetResponse() == nil {
			c.t.Fatalf("got %v, expected a response to %d", answer, id)
		}
	}
}

func (c *conversation) expectEnd() {
	c.t.Helper()
	if answer, err := c.Recv(); err != io.EOF {
		c.t.Fatalf("got %v, %v, expected the end with OK", answer, err)
	}
}

func (c *conversation) until(what string, condition func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatal(what)
		}
	}
}

func (c *conversation) untilOpen(count int32) {
	c.t.Helper()
	c.until("decisions under way", func() bool { return c.desk.open.Load() == count })
}

func TestTheStreamOpensBeforeItsFirstAnswer(t *testing.T) {
	if _, err := converse(t).Header(); err != nil {
		t.Error(err)
	}
}

func TestASlowDecisionHoldsUpNone(t *testing.T) {
	c := converse(t)
	c.ask(1, "wait 600ms", patience)
	c.ask(2, "wait 300ms", patience)
	c.ask(3, "now", patience)
	c.expect(3, 2, 1)
}

func TestAFailureIsAStatusItemAndTheStreamGoesOn(t *testing.T) {
	c := converse(t)
	c.ask(1, "refuse", patience)
	if answer := c.next(); answer.GetError().GetCode() != int32(codes.ResourceExhausted) || answer.GetError().GetMessage() != "too much" {
		t.Errorf("got %v", answer)
	}
	c.ask(2, "now", patience)
	c.expect(2)
	_, err := c.client.Decide(context.Background(), &pb.DecideRequest{Messages: []*pb.Message{{Name: "refuse"}}})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v by call", err)
	}
}

func TestAPanicCostsOneDecision(t *testing.T) {
	log.SetOutput(io.Discard)
	defer log.SetOutput(os.Stderr)
	c := converse(t)
	c.ask(1, "panic", patience)
	if answer := c.next(); answer.GetError().GetCode() != int32(codes.Internal) {
		t.Errorf("got %v", answer)
	}
	_, err := c.client.Decide(context.Background(), &pb.DecideRequest{Messages: []*pb.Message{{Name: "panic"}}})
	if status.Code(err) != codes.Internal {
		t.Errorf("got %v by call", err)
	}
	c.ask(2, "now", patience)
	c.expect(2)
}

func TestCancelAndDeadlineEndDecisionsWithoutAnAnswer(t *testing.T) {
	c := converse(t)
	c.ask(1, "hold", patience)
	c.ask(2, "hold", 100*time.Millisecond)
	c.ask(3, "hold", patience)
	c.until("all are under way", func() bool { return c.desk.begun.Load() == 3 })
	c.send(&pb.DecideStreamRequest{Item: &pb.DecideStreamRequest_Cancel{Cancel: &pb.Cancel{Id: 1}}})
	c.untilOpen(1)
	close(c.desk.release)
	c.expect(3)
	c.CloseSend()
	c.expectEnd()
}

func TestWhatItDoesNotKnowIsIgnored(t *testing.T) {
	c := converse(t)
	c.send(&pb.DecideStreamRequest{})
	c.send(&pb.DecideStreamRequest{Item: &pb.DecideStreamRequest_Cancel{Cancel: &pb.Cancel{Id: 9}}})
	c.ask(1, "now", patience)
	c.expect(1)
}

func TestWhenTheBridgeClosesItsSideTheRestIsAnswered(t *testing.T) {
	c := converse(t)
	c.ask(1, "wait 300ms", patience)
	c.ask(2, "now", patience)
	c.CloseSend()
	c.expect(2, 1)
	c.expectEnd()
}

func TestAServiceThatLeavesAnswersWhatItHas(t *testing.T) {
	c := converse(t)
	c.ask(1, "hold", patience)
	c.untilOpen(1)
	close(c.decisions.leaving)
	c.ask(2, "now", patience)
	c.expect(2)
	close(c.desk.release)
	c.expect(1)
	c.expectEnd()
}

func TestAStreamThatBreaksTakesItsDecisionsAlong(t *testing.T) {
	c := converse(t)
	for id := uint64(1); id <= 20; id++ {
		c.ask(id, "hold", patience)
	}
	c.untilOpen(20)
	c.breakOff()
	c.untilOpen(0)
}

func TestBeyondItsBoundAStreamIsNotRead(t *testing.T) {
	c := converse(t)
	const all = 2 * maxInFlight
	filling := strings.Repeat("x", 100)
	go func() {
		for id := uint64(1); id <= all; id++ {
			c.ask(id, "hold "+filling, patience)
		}
		c.CloseSend()
	}()
	c.untilOpen(maxInFlight)
	time.Sleep(200 * time.Millisecond)
	if begun := c.desk.begun.Load(); begun != maxInFlight {
		t.Errorf("%d decisions begun, expected %d", begun, maxInFlight)
	}
	close(c.desk.release)
	answered := make(map[uint64]bool)
	for len(answered) < all {
		answered[c.next().GetId()] = true
	}
	c.expectEnd()
}
