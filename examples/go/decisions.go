package main

import (
	"context"
	"log"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "example.com/decisions/gen/spopbridge/v1"
)

// Decisions of one stream that may be under way. Beyond it the stream is not
// read, and the bridge notices.
const maxInFlight = 4096

// rule decides one NOTIFY.
type rule = func(context.Context, *pb.DecideRequest) (*pb.DecideResponse, error)

// decisions serves both methods of the contract from one function. Copy this
// file into your service.
type decisions struct {
	pb.UnimplementedDecisionServiceServer
	decide rule
	// Closed when the service wants to go away: each stream then ends as soon as
	// no decision on it is unanswered.
	leaving chan struct{}
}

func (d *decisions) Decide(ctx context.Context, request *pb.DecideRequest) (*pb.DecideResponse, error) {
	return d.safely(ctx, request)
}

// safely decides; a panic costs this decision, not the process.
func (d *decisions) safely(ctx context.Context, request *pb.DecideRequest) (response *pb.DecideResponse, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			log.Printf("decision failed: %v\n%s", panicked, debug.Stack())
			err = status.Errorf(codes.Internal, "the service panicked: %v", panicked)
		}
	}()
	return d.decide(ctx, request)
}

// DecideStream runs each decision in a goroutine of its own; answers leave in
// any order.
func (d *decisions) DecideStream(server pb.DecisionService_DecideStreamServer) error {
	// Else the bridge hears nothing before the first answer.
	if err := server.SendHeader(nil); err != nil {
		return err
	}
	s := &stream{
		DecisionService_DecideStreamServer: server,
		decisions:                          d,
		answers:                            make(chan *pb.DecideStreamResponse, maxInFlight),
		unanswered:                         make(chan struct{}, maxInFlight),
		cancels:                            make(map[uint64]context.CancelFunc),
	}
	// This method's context ends with it, and with the stream.
	read := make(chan struct{})
	go func() { defer close(read); s.read() }()
	leaving, ending := d.leaving, false
	for !ending || len(s.unanswered) > 0 {
		select {
		case answer := <-s.answers:
			if answer != nil {
				if err := s.Send(answer); err != nil {
					return err
				}
			}
			<-s.unanswered
		case <-read: // the bridge asks nothing more, or the stream has broken
			read, ending = nil, true
		case <-leaving:
			leaving, ending = nil, true
		}
	}
	return nil
}

// stream is one DecideStream.
type stream struct {
	pb.DecisionService_DecideStreamServer
	decisions *decisions
	// One per decision; nil for one that nobody waits for.
	answers chan *pb.DecideStreamResponse
	// Holds something for each decision that has not been through answers.
	unanswered chan struct{}

	mutex   sync.Mutex
	cancels map[uint64]context.CancelFunc
}

// read starts what the bridge asks, and cancels what it cancels, until it closes its side.
func (s *stream) read() {
	for {
		item, err := s.Recv()
		if err != nil {
			return
		}
		if decision := item.GetDecision(); decision != nil {
			select {
			case s.unanswered <- struct{}{}:
				s.start(decision)
			case <-s.Context().Done():
				return
			}
		} else if cancel := item.GetCancel(); cancel != nil {
			s.cancel(cancel.GetId())
		}
	}
}

func (s *stream) start(decision *pb.Decision) {
	ctx, cancel := withTrace(s.Context(), decision), context.CancelFunc(nil)
	// The bridge always sends it. Other clients may not care.
	if remaining := decision.GetRemainingUs(); remaining > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(remaining)*time.Microsecond)
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	s.mutex.Lock()
	s.cancels[decision.GetId()] = cancel
	s.mutex.Unlock()
	go func() {
		answer := s.answer(ctx, decision)
		s.cancel(decision.GetId())
		s.answers <- answer
	}()
}

// answer is nil when nobody waits for it any more.
func (s *stream) answer(ctx context.Context, decision *pb.Decision) *pb.DecideStreamResponse {
	response, err := s.decisions.safely(ctx, decision.GetRequest())
	if ctx.Err() != nil {
		return nil
	}
	answer := &pb.DecideStreamResponse{Id: decision.GetId()}
	if err != nil {
		answer.Result = &pb.DecideStreamResponse_Error{Error: status.Convert(err).Proto()}
	} else {
		answer.Result = &pb.DecideStreamResponse_Response{Response: response}
	}
	return answer
}

// cancel ends the context of a decision. An id that is not there is no error.
func (s *stream) cancel(id uint64) {
	s.mutex.Lock()
	cancel := s.cancels[id]
	delete(s.cancels, id)
	s.mutex.Unlock()
	if cancel != nil {
		cancel()
	}
}

// withTrace puts the decision's trace context where a call of Decide has it: into the metadata.
func withTrace(ctx context.Context, decision *pb.Decision) context.Context {
	if decision.GetTraceparent() == "" && decision.GetBaggage() == "" {
		return ctx
	}
	opening, _ := metadata.FromIncomingContext(ctx)
	headers := opening.Copy()
	headers.Set("traceparent", decision.GetTraceparent())
	headers.Set("tracestate", decision.GetTracestate())
	headers.Set("baggage", decision.GetBaggage())
	return metadata.NewIncomingContext(ctx, headers)
}
