package com.example.decisions;

import com.google.rpc.Status;
import com.spopbridge.v1.DecideRequest;
import com.spopbridge.v1.DecideResponse;
import com.spopbridge.v1.DecideStreamRequest;
import com.spopbridge.v1.DecideStreamResponse;
import com.spopbridge.v1.Decision;
import com.spopbridge.v1.DecisionServiceGrpc;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.ForwardingServerCall.SimpleForwardingServerCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.ServerInterceptors;
import io.grpc.ServerServiceDefinition;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.logging.Level;
import java.util.logging.Logger;

/** Both methods of spop-bridge's contract from one function. Copy this file into your service. */
final class Decisions extends DecisionServiceGrpc.DecisionServiceImplBase {
  /** Decisions of one stream that may be under way. Beyond it the stream is not read, and the bridge notices. */
  static final int MAX_IN_FLIGHT = 4096;
  /** Items asked for at once: one by one costs more. */
  private static final int AT_ONCE = 64;

  /**
   * Decides one NOTIFY, many of them side by side.
   *
   * <p>What is at hand is a {@code CompletableFuture.completedFuture(...)}. What blocks belongs onto threads of yours, {@code
   * CompletableFuture.supplyAsync(() -> ..., executor)}: here it would hold up all decisions of its stream. The future is cancelled when
   * nobody waits for the answer any more. An exception means that there is no decision, and a {@code StatusRuntimeException} says why; a
   * denial is a decision.
   */
  interface Rule {
    CompletableFuture<DecideResponse> decide(DecideRequest request, Trace trace);
  }

  /** W3C trace context; empty text where there is none. */
  record Trace(String traceparent, String tracestate, String baggage) {}

  private static final Logger LOG = Logger.getLogger(Decisions.class.getName());
  private static final Context.Key<Metadata> HEADERS = Context.key("headers");

  private final Rule rule;
  private final int maxInFlight;
  private final Set<Stream> streams = ConcurrentHashMap.newKeySet();
  private final ScheduledThreadPoolExecutor deadlines = new ScheduledThreadPoolExecutor(1, Decisions::daemon);
  private volatile boolean leaving;

  Decisions(Rule rule) {
    this(rule, MAX_IN_FLIGHT);
  }

  Decisions(Rule rule, int maxInFlight) {
    this.rule = rule;
    this.maxInFlight = maxInFlight;
    deadlines.setRemoveOnCancelPolicy(true);
  }

  /** Ends each stream as soon as no decision on it is unanswered. */
  void leave() {
    leaving = true;
    streams.forEach(Stream::end);
  }

  /** What the server takes. */
  ServerServiceDefinition service() {
    return ServerInterceptors.intercept(this, new ServerInterceptor() {
      @Override
      public <A, B> ServerCall.Listener<A> interceptCall(ServerCall<A, B> call, Metadata headers, ServerCallHandler<A, B> next) {
        boolean streamed = call.getMethodDescriptor().getType() == MethodType.BIDI_STREAMING;
        var context = Context.current().withValue(HEADERS, headers);
        return Contexts.interceptCall(context, streamed ? opened(call) : call, headers, next);
      }
    });
  }

  @Override
  public void decide(DecideRequest request, StreamObserver<DecideResponse> observer) {
    var call = (ServerCallStreamObserver<DecideResponse>) observer;
    var decided = safely(request, new Trace(header("traceparent"), header("tracestate"), header("baggage")));
    call.setOnCancelHandler(() -> decided.cancel(true)); // also at the deadline
    decided.whenComplete((response, error) -> {
      if (call.isCancelled()) {
        return;
      }
      if (error == null) {
        call.onNext(response);
        call.onCompleted();
      } else {
        call.onError(failure(error).asRuntimeException());
      }
    });
  }

  @Override
  public StreamObserver<DecideStreamRequest> decideStream(StreamObserver<DecideStreamResponse> observer) {
    var stream = new Stream((ServerCallStreamObserver<DecideStreamResponse>) observer);
    streams.add(stream);
    if (leaving) {
      stream.end();
    }
    return stream;
  }

  /** Sends the headers at once, not with the first answer: else the bridge hears nothing before that. */
  private static <A, B> ServerCall<A, B> opened(ServerCall<A, B> call) {
    call.sendHeaders(new Metadata());
    return new SimpleForwardingServerCall<>(call) {
      @Override
      public void sendHeaders(Metadata sentAlready) {}
    };
  }

  /** Also what the rule throws instead of returning. */
  private CompletableFuture<DecideResponse> safely(DecideRequest request, Trace trace) {
    try {
      return rule.decide(request, trace);
    } catch (RuntimeException | Error thrown) {
      return CompletableFuture.failedFuture(thrown);
    }
  }

  /** One {@code DecideStream}. gRPC calls it from one thread at a time; decisions may end on any. */
  private final class Stream implements StreamObserver<DecideStreamRequest> {
    private final ServerCallStreamObserver<DecideStreamResponse> call;
    /** By id. What follows is guarded by this object. */
    private final Map<Long, CompletableFuture<DecideResponse>> waitedFor = new HashMap<>();
    /** Decisions that have not ended; also those that nobody waits for. */
    private int running;
    /** Items that were asked for and are not there yet. */
    private int asked;
    private boolean ending;
    private boolean over;

    Stream(ServerCallStreamObserver<DecideStreamResponse> call) {
      this.call = call;
      call.disableAutoRequest();
      call.setOnReadyHandler(this::proceed); // also once at the start
      call.setOnCancelHandler(this::broken);
    }

    @Override
    public void onNext(DecideStreamRequest item) {
      synchronized (this) {
        asked--;
      }
      if (item.hasCancel()) {
        drop(item.getCancel().getId());
      } else if (item.hasDecision()) {
        start(item.getDecision());
      }
      proceed();
    }

    @Override
    public void onCompleted() { // the bridge asks nothing more
      end();
    }

    @Override
    public void onError(Throwable broken) {
      broken();
    }

    private void start(Decision decision) {
      long id = decision.getId();
      synchronized (this) {
        if (waitedFor.containsKey(id)) {
          return;
        }
        running++;
      }
      var trace = new Trace(decision.getTraceparent(), decision.getTracestate(), decision.getBaggage());
      var decided = safely(decision.getRequest(), trace);
      synchronized (this) {
        waitedFor.put(id, decided);
      }
      ScheduledFuture<?> deadline = null;
      // After that the bridge ignores the answer. 0 is what other clients send that do not care.
      if (decision.getRemainingUs() > 0 && !decided.isDone()) {
        deadline = deadlines.schedule(() -> drop(id), decision.getRemainingUs(), TimeUnit.MICROSECONDS);
      }
      var timer = deadline;
      decided.whenComplete((response, error) -> {
        if (timer != null) {
          timer.cancel(false);
        }
        answer(id, response, error);
      });
    }

    private void answer(long id, DecideResponse response, Throwable error) {
      var answer = DecideStreamResponse.newBuilder().setId(id);
      synchronized (this) {
        running--;
        if (waitedFor.remove(id) != null && !over) {
          if (error == null) {
            answer.setResponse(response);
          } else {
            var status = failure(error);
            var text = status.getDescription() == null ? "" : status.getDescription();
            answer.setError(Status.newBuilder().setCode(status.getCode().value()).setMessage(text));
          }
          call.onNext(answer.build());
        }
      }
      proceed();
    }

    /** Nobody waits for this id any more. */
    private void drop(long id) {
      CompletableFuture<DecideResponse> dropped;
      synchronized (this) {
        dropped = waitedFor.remove(id);
      }
      if (dropped != null) {
        dropped.cancel(true);
      }
      proceed();
    }

    /** Ends the stream with OK as soon as nothing is left to answer. */
    private void end() {
      synchronized (this) {
        ending = true;
      }
      proceed();
    }

    /** Reads on, or not; ends, if it is to end. */
    private synchronized void proceed() {
      if (over || call.isCancelled()) {
        return;
      }
      if (ending && waitedFor.isEmpty()) {
        over = true;
        streams.remove(this);
        call.onCompleted();
      } else if (asked <= AT_ONCE / 2 && call.isReady()) {
        int more = Math.min(AT_ONCE, maxInFlight - running) - asked;
        if (more > 0) {
          asked += more;
          call.request(more);
        }
      }
    }

    /** Nobody waits for anything any more. */
    private void broken() {
      Set<Long> ids;
      synchronized (this) {
        over = true;
        ids = Set.copyOf(waitedFor.keySet());
      }
      streams.remove(this);
      ids.forEach(this::drop);
    }
  }

  /** What is not a {@code StatusRuntimeException} costs this decision, and is said: it is a bug. */
  private static io.grpc.Status failure(Throwable error) {
    var cause = error instanceof CompletionException && error.getCause() != null ? error.getCause() : error;
    var status = io.grpc.Status.fromThrowable(cause);
    if (status.getCode() != io.grpc.Status.Code.UNKNOWN || cause instanceof java.util.concurrent.CancellationException) {
      return status;
    }
    LOG.log(Level.SEVERE, "decision failed", cause);
    return status.withDescription(cause.toString());
  }

  private static String header(String name) {
    var headers = HEADERS.get();
    var value = headers == null ? null : headers.get(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER));
    return value == null ? "" : value;
  }

  private static Thread daemon(Runnable runnable) {
    var thread = new Thread(runnable, "deadlines");
    thread.setDaemon(true);
    return thread;
  }
}
