package com.example.decisions;

import com.google.gson.Gson;
import com.google.gson.annotations.SerializedName;
import com.google.protobuf.ByteString;
import com.spopbridge.v1.NullValue;
import com.spopbridge.v1.Value;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** ../conformance.json: what all examples must do alike. */
final class Conformance {
  static final Conformance ALL = read();

  List<String> blocklist;
  List<Listed> listed;
  @SerializedName("bad_blocklist") Bad badBlocklist;
  List<String> keys;
  List<Token> tokens;
  @SerializedName("bad_keys") Bad badKeys;
  List<Client> clients;
  List<Limits> limits;
  List<Decided> decisions;

  static class Listed {
    String ip;
    String entry;
  }

  static class Bad {
    List<String> lines;
    List<Integer> bad;
  }

  static class Token {
    String token;
    String name;
  }

  static class Client {
    String ip;
    String client;
  }

  static class Limits {
    String what;
    double rate;
    double burst;
    int max;
    List<Take> takes;
  }

  static class Take {
    double at;
    String client;
    @SerializedName("retry_after") long retryAfter;
  }

  static class Decided {
    String what;
    Map<String, String> args;
    boolean allow;
    String reason;
    long score;
  }

  static String joined(List<String> lines) {
    return String.join("\n", lines) + "\n";
  }

  /** An arg as the file has it: {@code kind:text}, or null. */
  static Value value(String described) {
    var value = Value.newBuilder();
    if (described == null) {
      return value.setNullValue(NullValue.NULL_VALUE_UNSPECIFIED).build();
    }
    var parts = described.split(":", 2);
    return switch (parts[0]) {
      case "ipv4" -> value.setIpv4Value(ByteString.copyFrom(Checks.address(parts[1]).getAddress())).build();
      case "ipv6" -> value.setIpv6Value(sixteen(parts[1])).build();
      case "string" -> value.setStringValue(parts[1]).build();
      default -> value.setStringValue(described).build();
    };
  }

  /** As they come over the wire: Java itself makes 4 bytes of IPv4 in IPv6. */
  private static ByteString sixteen(String text) {
    var bytes = Checks.address(text).getAddress();
    if (bytes.length == 16) {
      return ByteString.copyFrom(bytes);
    }
    var mapped = new BigInteger("ffff", 16).shiftLeft(32).or(new BigInteger(1, bytes)).toByteArray();
    return ByteString.copyFrom(new byte[16 - mapped.length]).concat(ByteString.copyFrom(mapped));
  }

  private static Conformance read() {
    try {
      return new Gson().fromJson(Files.readString(Path.of("../conformance.json")), Conformance.class);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
