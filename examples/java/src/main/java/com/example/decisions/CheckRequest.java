package com.example.decisions;

import com.example.decisions.Checks.Blocklist;
import com.example.decisions.Checks.Keys;
import com.example.decisions.Checks.Limit;
import com.google.common.net.InetAddresses;
import com.spopbridge.v1.Action;
import com.spopbridge.v1.Arg;
import com.spopbridge.v1.DecideRequest;
import com.spopbridge.v1.DecideResponse;
import com.spopbridge.v1.SetVar;
import com.spopbridge.v1.Value;
import com.spopbridge.v1.VarScope;
import io.grpc.Status;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/** The decision about the message {@code check-request} with the args {@code ip}, {@code path} and {@code token}. */
record CheckRequest(Supplier<Blocklist> blocklist, Supplier<Keys> keys, Limit limit) implements Decisions.Rule {

  @Override
  public CompletableFuture<DecideResponse> decide(DecideRequest request, Decisions.Trace trace) {
    return CompletableFuture.completedFuture(decide(request));
  }

  private DecideResponse decide(DecideRequest request) {
    var message = request.getMessagesList().stream().filter(each -> each.getName().equals("check-request")).findFirst();
    if (message.isEmpty()) {
      return DecideResponse.getDefaultInstance(); // not a question for this service: no opinion
    }
    Value ip = Value.getDefaultInstance();
    Value path = ip;
    Value token = ip;
    for (Arg arg : message.get().getArgsList()) {
      switch (arg.getName()) {
        case "ip" -> ip = arg.getValue();
        case "path" -> path = arg.getValue();
        case "token" -> token = arg.getValue();
        default -> { }
      }
    }
    if (!path.hasStringValue()) {
      // Costs HAProxy nothing: the bridge answers with the route's actions for `rejected`.
      throw Status.INVALID_ARGUMENT.withDescription("check-request came without a path").asRuntimeException();
    }
    var verdict = verdict(address(ip), path.getStringValue(), exactBytes(token));
    var response = DecideResponse.newBuilder()
        .addActions(setVar("allow", Value.newBuilder().setBoolValue(verdict.allow())))
        .addActions(setVar("reason", Value.newBuilder().setStringValue(verdict.reason())))
        .addActions(setVar("score", Value.newBuilder().setInt64Value(verdict.score())));
    if (verdict.retryAfter() > 0) {
      response.addActions(setVar("retry_after", Value.newBuilder().setInt64Value(verdict.retryAfter())));
    }
    return response.build();
  }

  /** The score goes from 0 (harmless) to 100; retryAfter is 0 unless the client is rate-limited. */
  private record Verdict(boolean allow, String reason, long score, long retryAfter) {
    Verdict(boolean allow, String reason, long score) {
      this(allow, reason, score, 0);
    }
  }

  /** The rule itself. */
  private Verdict verdict(InetAddress ip, String path, byte[] token) {
    var entry = blocklist.get().entry(ip);
    if (entry != null) {
      return new Verdict(false, "listed: " + entry, 100);
    }
    var owner = keys.get().nameOf(token);
    // Before keys are judged, so that they cannot be guessed any faster.
    long retryAfter = limit.take(owner == null ? Checks.clientOf(ip) : "key " + owner);
    if (retryAfter > 0) {
      return new Verdict(false, "rate limit", 50, retryAfter);
    }
    // By segments: `//admin` and `/x/../admin` are the same place to most applications.
    if (!List.of(path.toLowerCase(Locale.ROOT).split("/")).contains("admin")) {
      return new Verdict(true, "public path", 0);
    }
    if (owner != null) {
      return new Verdict(true, "token accepted", 10);
    }
    return new Verdict(false, "admin path without token from " + (ip == null ? "unknown" : InetAddresses.toAddrString(ip)), 100);
  }

  /** An address, also one that came as text ({@code ip=req.hdr(x-real-ip)}); null if there is none. */
  static InetAddress address(Value value) {
    try {
      return switch (value.getKindCase()) {
        // IPv4 in IPv6 comes out as IPv4.
        case IPV4_VALUE -> InetAddress.getByAddress(value.getIpv4Value().toByteArray());
        case IPV6_VALUE -> InetAddress.getByAddress(value.getIpv6Value().toByteArray());
        case STRING_VALUE -> Checks.address(value.getStringValue());
        default -> null;
      };
    } catch (UnknownHostException notOfThatLength) {
      return null;
    }
  }

  /** Those that HAProxy sent, also where they are not UTF-8. */
  private static byte[] exactBytes(Value value) {
    return (value.getRawString().isEmpty() ? value.getStringValueBytes() : value.getRawString()).toByteArray();
  }

  /** Sets txn.(option var-prefix).(name) in HAProxy. */
  static Action setVar(String name, Value.Builder value) {
    var set = SetVar.newBuilder().setScope(VarScope.VAR_SCOPE_TRANSACTION).setName(name).setValue(value);
    return Action.newBuilder().setSetVar(set).build();
  }
}
