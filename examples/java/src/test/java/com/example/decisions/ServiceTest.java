package com.example.decisions;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.spopbridge.v1.Arg;
import com.spopbridge.v1.DecideRequest;
import com.spopbridge.v1.DecideResponse;
import com.spopbridge.v1.DecideStreamRequest;
import com.spopbridge.v1.DecideStreamResponse;
import com.spopbridge.v1.Decision;
import com.spopbridge.v1.DecisionServiceGrpc;
import com.spopbridge.v1.Message;
import com.spopbridge.v1.Value;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollDomainSocketChannel;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.unix.DomainSocketAddress;
import io.grpc.stub.StreamObserver;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The service as its own process, as an operator starts it, called as the bridge calls it: over a real socket. */
class ServiceTest {
  @TempDir Path folder;
  private Process process;
  private String address;
  private ManagedChannel channel;

  private static Process run(String... flags) throws Exception {
    var command = new ArrayList<>(List.of(System.getProperty("java.home") + "/bin/java", "-cp", System.getProperty("java.class.path")));
    command.add("com.example.decisions.Main");
    command.addAll(List.of(flags));
    return new ProcessBuilder(command).redirectErrorStream(true).start();
  }

  private void start(String... flags) throws Exception {
    var listen = new ArrayList<>(List.of(flags));
    if (!listen.contains("--listen")) {
      listen.addAll(List.of("--listen", "127.0.0.1:0"));
    }
    process = run(listen.toArray(String[]::new));
    var line = new BufferedReader(new InputStreamReader(process.getInputStream())).readLine();
    assertTrue(line != null && line.startsWith("listening on "), "the service said " + line);
    address = line.substring("listening on ".length());
    channel = address.startsWith("unix:")
        ? NettyChannelBuilder.forAddress(new DomainSocketAddress(address.substring(5))).usePlaintext()
            .channelType(EpollDomainSocketChannel.class).eventLoopGroup(new EpollEventLoopGroup(1)).build()
        : NettyChannelBuilder.forTarget(address).usePlaintext().build();
  }

  @AfterEach
  void end() {
    if (process != null) {
      channel.shutdownNow();
      process.destroyForcibly();
    }
  }

  private static DecideRequest checkRequest(Map<String, Value> args) {
    var message = Message.newBuilder().setName("check-request");
    args.forEach((name, value) -> message.addArgs(Arg.newBuilder().setName(name).setValue(value)));
    return DecideRequest.newBuilder().addMessages(message).build();
  }

  private DecideResponse decide(DecideRequest request) {
    return DecisionServiceGrpc.newBlockingStub(channel).withDeadlineAfter(10, TimeUnit.SECONDS).decide(request);
  }

  private Map<String, Value> ask(Map<String, Value> args) {
    return decide(checkRequest(args)).getActionsList().stream()
        .collect(Collectors.toMap(action -> action.getSetVar().getName(), action -> action.getSetVar().getValue()));
  }

  private static Value text(String text) {
    return Value.newBuilder().setStringValue(text).build();
  }

  @Test
  void itDecidesAsTheOthers() throws Exception {
    var blocklist = Files.writeString(folder.resolve("blocklist"), Conformance.joined(Conformance.ALL.blocklist));
    var keys = Files.writeString(folder.resolve("keys"), Conformance.joined(Conformance.ALL.keys));
    start("--blocklist", blocklist.toString(), "--keys", keys.toString());
    for (var each : Conformance.ALL.decisions) {
      var args = new java.util.TreeMap<String, Value>();
      each.args.forEach((name, described) -> args.put(name, Conformance.value(described)));
      var answer = ask(args);
      assertEquals(each.allow, answer.get("allow").getBoolValue(), each.what);
      assertEquals(each.reason, answer.get("reason").getStringValue(), each.what);
      assertEquals(each.score, answer.get("score").getInt64Value(), each.what);
      assertFalse(answer.containsKey("retry_after"), each.what);
    }
  }

  @Test
  void anEmptyBucketSaysWhenToComeAgain() throws Exception {
    start("--rate", "0.01", "--burst", "1");
    var args = Map.of("ip", Conformance.value("ipv4:192.0.2.7"), "path", text("/"));
    assertTrue(ask(args).get("allow").getBoolValue());
    var limited = ask(args);
    assertFalse(limited.get("allow").getBoolValue());
    assertEquals("rate limit", limited.get("reason").getStringValue());
    assertEquals(50, limited.get("score").getInt64Value());
    long seconds = limited.get("retry_after").getInt64Value();
    assertTrue(90 <= seconds && seconds <= 100, "come again in " + seconds);
    assertTrue(ask(Map.of("ip", Conformance.value("ipv4:192.0.2.8"), "path", text("/"))).get("allow").getBoolValue());
  }

  @Test
  void whatItCannotDecide() throws Exception {
    start();
    var refused = assertThrows(StatusRuntimeException.class, () -> ask(Map.of("path", Conformance.value(null))));
    assertEquals(Status.Code.INVALID_ARGUMENT, refused.getStatus().getCode());
    var other = DecideRequest.newBuilder().addMessages(Message.newBuilder().setName("other")).build();
    assertEquals(DecideResponse.getDefaultInstance(), decide(other));
    var raw = ByteString.copyFromUtf8("let-me-in").concat(ByteString.copyFrom(new byte[] {(byte) 0xff}));
    var fooled = text("let-me-in").toBuilder().setRawString(raw).build();
    assertFalse(ask(Map.of("path", text("/admin"), "token", fooled)).get("allow").getBoolValue(), "the replaced text counted");
  }

  @Test
  void itListensOnAUnixSocketAlsoOverAStaleFile() throws Exception {
    var listen = "unix:" + folder.resolve("socket");
    start("--listen", listen);
    end();
    process.waitFor();
    start("--listen", listen);
    assertEquals(listen, address);
    assertTrue(ask(Map.of("path", text("/administrator"))).get("allow").getBoolValue());
  }

  @Test
  void itSaysServingAndThenNotServingAndEndsWellWithAStreamOpen() throws Exception {
    start();
    var answers = new LinkedBlockingQueue<DecideStreamResponse>();
    var streamEnd = new CompletableFuture<Status>();
    var requests = DecisionServiceGrpc.newStub(channel).decideStream(new StreamObserver<DecideStreamResponse>() {
      @Override
      public void onNext(DecideStreamResponse answer) {
        answers.add(answer);
      }

      @Override
      public void onError(Throwable error) {
        streamEnd.complete(Status.fromThrowable(error));
      }

      @Override
      public void onCompleted() {
        streamEnd.complete(Status.OK);
      }
    });
    var decision = Decision.newBuilder().setId(1).setRemainingUs(10_000_000).setRequest(checkRequest(Map.of("path", text("/"))));
    requests.onNext(DecideStreamRequest.newBuilder().setDecision(decision).build());
    assertTrue(answers.poll(10, TimeUnit.SECONDS).getResponse().getActions(0).getSetVar().getValue().getBoolValue());

    var health = HealthGrpc.newBlockingStub(channel);
    for (var name : List.of("", "spopbridge.v1.DecisionService")) {
      var answer = health.check(HealthCheckRequest.newBuilder().setService(name).build());
      assertEquals(ServingStatus.SERVING, answer.getStatus(), name);
    }
    var said = new LinkedBlockingQueue<HealthCheckResponse>();
    var context = io.grpc.Context.current().withCancellation();
    context.run(() -> HealthGrpc.newStub(channel).watch(HealthCheckRequest.getDefaultInstance(), new StreamObserver<>() {
      @Override
      public void onNext(HealthCheckResponse answer) {
        said.add(answer);
      }

      @Override
      public void onError(Throwable error) {}

      @Override
      public void onCompleted() {}
    }));
    assertEquals(ServingStatus.SERVING, said.poll(10, TimeUnit.SECONDS).getStatus());
    process.destroy(); // SIGTERM
    assertEquals(ServingStatus.NOT_SERVING, said.poll(10, TimeUnit.SECONDS).getStatus());
    context.cancel(null);
    assertEquals(Status.Code.OK, streamEnd.get(10, TimeUnit.SECONDS).getCode());
    assertTrue(process.waitFor(10, TimeUnit.SECONDS));
    assertEquals(0, process.exitValue());
  }

  @Test
  void aBadFileOrFlagEndsItAtTheStart() throws Exception {
    var file = Files.writeString(folder.resolve("list.txt"), "192.0.2.1\nnonsense\n").toString();
    for (var each : List.of(
        List.of(file + ":2: not an address", "--blocklist", file),
        List.of("NoSuchFile", "--keys", file + ".none"),
        List.of("expected a number", "--rate", "-1"),
        List.of("usage:", "--bust", "1"))) {
      var ended = run(each.subList(1, each.size()).toArray(String[]::new));
      var said = new String(ended.getInputStream().readAllBytes());
      assertEquals(1, ended.waitFor(), said);
      assertTrue(said.contains(each.get(0)), said);
    }
  }
}
