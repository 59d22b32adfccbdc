package com.example.decisions;

import io.grpc.Server;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollServerDomainSocketChannel;
import io.grpc.netty.shaded.io.netty.channel.unix.DomainSocketAddress;
import io.grpc.protobuf.services.HealthStatusManager;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/** The server around the decisions: sockets, health, an orderly stop. */
final class Service {
  private final Decisions decisions;
  private final HealthStatusManager health = new HealthStatusManager(); // "" is serving from the start
  private final Server server;
  private final String listen;

  /** Serves on {@code host:port} or {@code unix:path}. */
  Service(String listen, Decisions.Rule rule) throws IOException {
    this.listen = listen;
    decisions = new Decisions(rule);
    health.setStatus("spopbridge.v1.DecisionService", ServingStatus.SERVING);
    server = builder(listen).addService(decisions.service()).addService(health.getHealthService()).build().start();
  }

  String address() {
    return listen.startsWith("unix:") ? listen : listen.substring(0, listen.lastIndexOf(':')) + ":" + server.getPort();
  }

  void stop() throws InterruptedException {
    health.enterTerminalState(); // NOT_SERVING: bridges that ask for it go elsewhere
    Thread.sleep(500);
    // GOAWAY: bridges get a second to go elsewhere. Then streams end once they are quiet, and five seconds are all there is.
    server.shutdown();
    if (!server.awaitTermination(1, TimeUnit.SECONDS)) {
      decisions.leave();
      if (!server.awaitTermination(4, TimeUnit.SECONDS)) {
        server.shutdownNow().awaitTermination(1, TimeUnit.SECONDS);
      }
    }
  }

  private static NettyServerBuilder builder(String listen) throws IOException {
    if (!listen.startsWith("unix:")) {
      int colon = listen.lastIndexOf(':');
      if (colon < 0) {
        throw new IllegalArgumentException("expected host:port or unix:path");
      }
      var host = listen.substring(0, colon).replaceAll("^\\[|]$", "");
      return NettyServerBuilder.forAddress(new InetSocketAddress(host, Integer.parseInt(listen.substring(colon + 1))));
    }
    var path = Path.of(listen.substring("unix:".length()));
    // A socket file left by a process that was killed is in the way.
    if (Files.exists(path) && !Files.isRegularFile(path, LinkOption.NOFOLLOW_LINKS) && !Files.isDirectory(path)) {
      Files.delete(path);
    }
    return NettyServerBuilder.forAddress(new DomainSocketAddress(path.toString()))
        .channelType(EpollServerDomainSocketChannel.class)
        .bossEventLoopGroup(new EpollEventLoopGroup(1))
        .workerEventLoopGroup(new EpollEventLoopGroup());
  }
}
