package com.example.decisions;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.spopbridge.v1.Cancel;
import com.spopbridge.v1.DecideRequest;
import com.spopbridge.v1.DecideResponse;
import com.spopbridge.v1.DecideStreamRequest;
import com.spopbridge.v1.DecideStreamResponse;
import com.spopbridge.v1.Decision;
import com.spopbridge.v1.DecisionServiceGrpc;
import com.spopbridge.v1.Message;
import com.spopbridge.v1.Value;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ClientInterceptors;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.net.InetSocketAddress;
import java.util.HashMap;
import java.util.HashSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Both methods from one function, as Decisions has them: a real server and a real client, one stream at a time. */
class DecisionsTest {
  private static final int PATIENCE = 20;
  private static final int BOUND = 8;

  private final Desk desk = new Desk();
  private final Decisions decisions = new Decisions(desk, 64);
  private final Decisions narrow = new Decisions(desk, BOUND);
  private Server server;
  private ManagedChannel channel;
  private Conversation stream;

  /** Decides what the name of the first message says, and knows what is under way. */
  private static final class Desk implements Decisions.Rule {
    final AtomicInteger open = new AtomicInteger();
    final AtomicInteger begun = new AtomicInteger();
    final CompletableFuture<Void> release = new CompletableFuture<>();

    @Override
    public CompletableFuture<DecideResponse> decide(DecideRequest request, Decisions.Trace trace) {
      begun.incrementAndGet();
      var what = request.getMessages(0).getName().split(" ");
      var echo = switch (what[0]) {
        case "trace" -> trace.traceparent();
        case "big" -> "x".repeat(10_000);
        default -> what[0];
      };
      var set = CheckRequest.setVar("echo", Value.newBuilder().setStringValue(echo));
      var response = DecideResponse.newBuilder().addActions(set).build();
      switch (what[0]) {
        case "refuse":
          throw Status.RESOURCE_EXHAUSTED.withDescription("too much").asRuntimeException();
        case "throw":
          throw new IllegalStateException("a bug");
        case "fail":
          return CompletableFuture.supplyAsync(() -> {
            throw new IllegalStateException("a bug");
          });
        case "wait", "hold":
          open.incrementAndGet();
          var decided = new CompletableFuture<DecideResponse>();
          decided.whenComplete((done, error) -> open.decrementAndGet());
          if (what[0].equals("wait")) {
            decided.completeOnTimeout(response, Long.parseLong(what[1]), TimeUnit.MILLISECONDS);
          } else {
            release.thenRun(() -> decided.complete(response));
          }
          return decided;
        default:
          return CompletableFuture.completedFuture(response);
      }
    }
  }

  /** One stream, from the bridge's side. */
  private static final class Conversation implements ClientResponseObserver<DecideStreamRequest, DecideStreamResponse> {
    final LinkedBlockingQueue<DecideStreamResponse> answers = new LinkedBlockingQueue<>();
    final CompletableFuture<Status> end = new CompletableFuture<>();
    ClientCallStreamObserver<DecideStreamRequest> requests;

    @Override
    public void beforeStart(ClientCallStreamObserver<DecideStreamRequest> requests) {
      this.requests = requests;
    }

    @Override
    public void onNext(DecideStreamResponse answer) {
      answers.add(answer);
    }

    @Override
    public void onError(Throwable error) {
      end.complete(Status.fromThrowable(error));
    }

    @Override
    public void onCompleted() {
      end.complete(Status.OK);
    }

    void ask(long id, String what, long remainingMs) {
      var decision = Decision.newBuilder().setId(id).setRemainingUs(remainingMs * 1000).setTraceparent("of " + id).setRequest(request(what));
      requests.onNext(DecideStreamRequest.newBuilder().setDecision(decision).build());
    }

    void ask(long id, String what) {
      ask(id, what, 60_000);
    }

    void cancel(long id) {
      requests.onNext(DecideStreamRequest.newBuilder().setCancel(Cancel.newBuilder().setId(id)).build());
    }

    DecideStreamResponse next() throws Exception {
      var answer = answers.poll(PATIENCE, TimeUnit.SECONDS);
      assertTrue(answer != null, "no answer");
      return answer;
    }

    void expect(long... ids) throws Exception {
      for (long id : ids) {
        var answer = next();
        assertEquals(id, answer.getId());
        assertTrue(answer.hasResponse(), answer.toString());
      }
    }

    void endsWell() throws Exception {
      assertEquals(Status.Code.OK, end.get(PATIENCE, TimeUnit.SECONDS).getCode());
      assertNull(answers.poll());
    }
  }

  private static DecideRequest request(String what) {
    return DecideRequest.newBuilder().addMessages(Message.newBuilder().setName(what)).build();
  }

  @BeforeEach
  void start() throws Exception {
    converse(decisions);
  }

  private void converse(Decisions decisions) throws Exception {
    server = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0)).addService(decisions.service()).build().start();
    channel = NettyChannelBuilder.forAddress("127.0.0.1", server.getPort()).usePlaintext().build();
    stream = new Conversation();
    DecisionServiceGrpc.newStub(channel).decideStream(stream);
  }

  @AfterEach
  void stop() throws Exception {
    channel.shutdownNow();
    server.shutdownNow().awaitTermination(PATIENCE, TimeUnit.SECONDS);
  }

  private DecideResponse call(String what) {
    return DecisionServiceGrpc.newBlockingStub(channel).withDeadlineAfter(PATIENCE, TimeUnit.SECONDS).decide(request(what));
  }

  private static void until(String what, BooleanSupplier condition) throws Exception {
    for (long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE); !condition.getAsBoolean(); Thread.sleep(2)) {
      assertTrue(System.nanoTime() < end, what);
    }
  }

  @Test
  void bothMethodsDecideTheSame() throws Exception {
    stream.ask(7, "now");
    var streamed = stream.next();
    assertEquals(7, streamed.getId());
    assertEquals(call("now"), streamed.getResponse());
  }

  @Test
  void theStreamOpensBeforeItsFirstAnswer() throws Exception {
    var opened = new CompletableFuture<Void>();
    var intercepted = ClientInterceptors.intercept(channel, new ClientInterceptor() {
      @Override
      public <A, B> ClientCall<A, B> interceptCall(MethodDescriptor<A, B> method, CallOptions options, Channel next) {
        return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
          @Override
          public void start(Listener<B> listener, Metadata headers) {
            super.start(new SimpleForwardingClientCallListener<>(listener) {
              @Override
              public void onHeaders(Metadata headers) {
                opened.complete(null);
              }
            }, headers);
          }
        };
      }
    });
    DecisionServiceGrpc.newStub(intercepted).decideStream(new Conversation());
    opened.get(PATIENCE, TimeUnit.SECONDS);
  }

  @Test
  void aSlowDecisionHoldsUpNone() throws Exception {
    stream.ask(1, "wait 600");
    stream.ask(2, "wait 300");
    stream.ask(3, "now");
    stream.expect(3, 2, 1);
  }

  @Test
  void failuresCostOneDecisionEach() throws Exception {
    Logger.getLogger(Decisions.class.getName()).setLevel(Level.OFF);
    stream.ask(1, "refuse");
    stream.ask(2, "throw");
    stream.ask(3, "fail");
    stream.ask(4, "now");
    var answers = new HashMap<Long, DecideStreamResponse>();
    while (answers.size() < 4) {
      var answer = stream.next();
      answers.put(answer.getId(), answer);
    }
    assertEquals(Status.Code.RESOURCE_EXHAUSTED.value(), answers.get(1L).getError().getCode());
    assertEquals("too much", answers.get(1L).getError().getMessage());
    for (long id : new long[] {2, 3}) {
      assertEquals(Status.Code.UNKNOWN.value(), answers.get(id).getError().getCode());
      assertEquals("java.lang.IllegalStateException: a bug", answers.get(id).getError().getMessage());
    }
    assertTrue(answers.get(4L).hasResponse());
    assertEquals(Status.Code.RESOURCE_EXHAUSTED, assertThrows(StatusRuntimeException.class, () -> call("refuse")).getStatus().getCode());
    assertEquals(Status.Code.UNKNOWN, assertThrows(StatusRuntimeException.class, () -> call("throw")).getStatus().getCode());
    Logger.getLogger(Decisions.class.getName()).setLevel(null);
  }

  @Test
  void theTraceContextArrives() throws Exception {
    stream.ask(4, "trace");
    assertEquals("of 4", stream.next().getResponse().getActions(0).getSetVar().getValue().getStringValue());
  }

  @Test
  void cancelAndDeadlineEndDecisionsWithoutAnAnswer() throws Exception {
    stream.ask(1, "hold");
    stream.ask(2, "hold", 100);
    stream.ask(3, "hold");
    until("all are under way", () -> desk.begun.get() == 3);
    stream.cancel(1);
    until("two are dropped", () -> desk.open.get() == 1);
    desk.release.complete(null);
    stream.expect(3);
    stream.requests.onCompleted();
    stream.endsWell();
  }

  @Test
  void aCallThatIsCancelledIsDropped() throws Exception {
    var call = DecisionServiceGrpc.newFutureStub(channel).decide(request("hold"));
    until("it is under way", () -> desk.open.get() == 1);
    call.cancel(true);
    until("it is dropped", () -> desk.open.get() == 0);
    var late = DecisionServiceGrpc.newBlockingStub(channel).withDeadlineAfter(100, TimeUnit.MILLISECONDS);
    assertThrows(StatusRuntimeException.class, () -> late.decide(request("hold")));
    until("it ends at its deadline", () -> desk.open.get() == 0);
  }

  @Test
  void whatItDoesNotKnowIsIgnored() throws Exception {
    stream.requests.onNext(DecideStreamRequest.getDefaultInstance());
    stream.cancel(9);
    stream.ask(1, "wait 200");
    stream.ask(1, "now");
    stream.expect(1);
    stream.requests.onCompleted();
    stream.endsWell();
  }

  @Test
  void whenTheBridgeClosesItsSideTheRestIsAnswered() throws Exception {
    stream.ask(1, "wait 300");
    stream.ask(2, "now");
    stream.requests.onCompleted();
    stream.expect(2, 1);
    stream.endsWell();
  }

  @Test
  void aServiceThatLeavesAnswersWhatItHas() throws Exception {
    stream.ask(1, "hold");
    until("it is under way", () -> desk.open.get() == 1);
    decisions.leave();
    stream.ask(2, "now");
    stream.expect(2);
    desk.release.complete(null);
    stream.expect(1);
    stream.endsWell();
  }

  @Test
  void aStreamThatBreaksTakesItsDecisionsAlong() throws Exception {
    for (int id = 1; id <= 20; id++) {
      stream.ask(id, "hold");
    }
    until("all are under way", () -> desk.open.get() == 20);
    stream.requests.cancel("gone", null);
    until("all are dropped", () -> desk.open.get() == 0);
  }

  @Test
  void beyondItsBoundAStreamIsNotRead() throws Exception {
    stop();
    converse(narrow);
    for (int id = 1; id <= 100; id++) {
      stream.ask(id, "hold");
    }
    stream.requests.onCompleted();
    until("the bound is reached", () -> desk.open.get() == BOUND);
    Thread.sleep(200);
    assertEquals(BOUND, desk.begun.get());
    desk.release.complete(null);
    var answered = new HashSet<Long>();
    while (answered.size() < 100) {
      answered.add(stream.next().getId());
    }
    stream.endsWell();
  }

  /** A bridge that does not read its answers is not read from either: nothing piles up here. */
  @Test
  void whoDoesNotReadIsNotReadFrom() throws Exception {
    var begun = new CountDownLatch(1);
    var idle = new ClientResponseObserver<DecideStreamRequest, DecideStreamResponse>() {
      ClientCallStreamObserver<DecideStreamRequest> requests;

      @Override
      public void beforeStart(ClientCallStreamObserver<DecideStreamRequest> requests) {
        this.requests = requests;
        requests.disableAutoRequestWithInitial(0);
        begun.countDown();
      }

      @Override
      public void onNext(DecideStreamResponse answer) {}

      @Override
      public void onError(Throwable error) {}

      @Override
      public void onCompleted() {}
    };
    DecisionServiceGrpc.newStub(channel).decideStream(idle);
    begun.await();
    for (int id = 1; id <= 4000; id++) {
      var decision = Decision.newBuilder().setId(id).setRemainingUs(60_000_000).setRequest(request("big"));
      idle.requests.onNext(DecideStreamRequest.newBuilder().setDecision(decision).build());
    }
    // Windows hold some: gRPC lets them grow up to 8 MiB, of 40 MB here.
    int before;
    do {
      before = desk.begun.get();
      Thread.sleep(500);
    } while (desk.begun.get() != before);
    assertTrue(before > 0 && before < 4000, before + " were decided");
    idle.requests.cancel("enough", null);
  }
}
