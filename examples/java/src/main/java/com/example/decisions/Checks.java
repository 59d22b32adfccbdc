package com.example.decisions;

import com.google.common.net.InetAddresses;
import java.io.IOException;
import java.math.BigInteger;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleSupplier;
import java.util.function.Function;
import java.util.logging.Logger;

/**
 * The three checks of the example: a list of addresses, API keys, a token bucket for each client.
 *
 * <p>None of it knows gRPC. What it must do, to the second, stands in ../conformance.json.
 */
final class Checks {
  private Checks() {}

  /** All lines of a file that are wrong. */
  static final class BadFile extends RuntimeException {
    BadFile(String message) {
      super(message);
    }
  }

  /** Calls {@code take} for each line that says something. What it returns is what is wrong with that line, or null. */
  private static void eachLine(String name, String text, Function<String, String> take) {
    var bad = new ArrayList<String>();
    var lines = text.split("\n", -1);
    for (int number = 1; number <= lines.length; number++) {
      var line = lines[number - 1].split("#", 2)[0].strip();
      var wrong = line.isEmpty() ? null : take.apply(line);
      if (wrong != null) {
        bad.add(name + ":" + number + ": " + wrong);
      }
    }
    if (!bad.isEmpty()) {
      throw new BadFile(String.join("\n", bad));
    }
  }

  /** Null for text that is no address. IPv4 in IPv6 (::ffff:192.0.2.1) is IPv4: HAProxy has it so on an IPv6 socket. */
  static InetAddress address(String text) {
    return !text.contains("%") && InetAddresses.isInetAddress(text) ? InetAddresses.forString(text) : null;
  }

  /** Addresses and networks. The smallest network that holds an address counts. */
  static final class Blocklist {
    /** The lines, by network. */
    private final Map<Network, String> entries = new HashMap<>();

    private record Network(int addressBits, int prefix, BigInteger bits) {
      static Network of(InetAddress ip, int prefix) {
        int length = ip.getAddress().length * 8;
        return new Network(length, prefix, new BigInteger(1, ip.getAddress()).shiftRight(length - prefix));
      }
    }

    Blocklist() {}

    Blocklist(String text, String name) {
      eachLine(name, text, line -> {
        var network = network(line);
        if (network == null) {
          return "not an address or a network (without host bits): " + line;
        }
        entries.putIfAbsent(network, line);
        return null;
      });
    }

    private static Network network(String line) {
      var parts = line.split("/", -1);
      var ip = address(parts[0]);
      if (ip == null || parts.length > 2 || ip instanceof Inet4Address && parts[0].contains(":")) {
        return null;
      }
      int length = ip.getAddress().length * 8;
      if (parts.length == 1) {
        return Network.of(ip, length);
      }
      if (!parts[1].matches("0|[1-9][0-9]{0,2}") || Integer.parseInt(parts[1]) > length) {
        return null;
      }
      var network = Network.of(ip, Integer.parseInt(parts[1]));
      var start = network.bits().shiftLeft(length - network.prefix());
      return start.equals(new BigInteger(1, ip.getAddress())) ? network : null;
    }

    /** The line that lists this address, or null. */
    String entry(InetAddress ip) {
      if (ip == null || entries.isEmpty()) {
        return null;
      }
      for (int prefix = ip.getAddress().length * 8; prefix >= 0; prefix--) {
        var line = entries.get(Network.of(ip, prefix));
        if (line != null) {
          return line;
        }
      }
      return null;
    }
  }

  /** API keys, of which only the SHA-256 is known. Two keys of one name do: the old one and the new one. */
  static final class Keys {
    private record Key(String name, byte[] digest) {}

    private final List<Key> keys = new ArrayList<>();

    Keys() {
      keys.add(new Key("default", sha256("let-me-in".getBytes(StandardCharsets.UTF_8))));
    }

    Keys(String text, String name) {
      eachLine(name, text, line -> {
        var fields = line.split("\\s+");
        // The line is not shown: it may be a key.
        if (fields.length != 2 || !fields[1].matches("[0-9a-fA-F]{64}")) {
          return "expected a name and the SHA-256 of a key, in hex";
        }
        var digest = HexFormat.of().parseHex(fields[1]);
        if (keys.stream().anyMatch(earlier -> Arrays.equals(earlier.digest(), digest))) {
          return "the key of an earlier line";
        }
        keys.add(new Key(fields[0], digest));
        return null;
      });
    }

    /** Whose key this is, or null. Takes as long for any key as for none. */
    String nameOf(byte[] token) {
      var given = sha256(token);
      String name = null;
      for (var key : keys) {
        if (MessageDigest.isEqual(given, key.digest()) && token.length > 0) {
          name = key.name();
        }
      }
      return name;
    }

    private static byte[] sha256(byte[] bytes) {
      try {
        return MessageDigest.getInstance("SHA-256").digest(bytes);
      } catch (NoSuchAlgorithmException impossible) {
        throw new IllegalStateException(impossible);
      }
    }
  }

  /** Whom a bucket is for: an IPv4 address, or an IPv6 /64, which is what one customer has. */
  static String clientOf(InetAddress ip) {
    if (ip == null) {
      return "unknown";
    }
    if (ip instanceof Inet4Address) {
      return ip.getHostAddress();
    }
    var network = Arrays.copyOf(Arrays.copyOf(ip.getAddress(), 8), 16);
    try {
      return InetAddresses.toAddrString(InetAddress.getByAddress(network)) + "/64";
    } catch (IOException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  /**
   * A token bucket for each client: {@code rate} tokens a second, {@code burst} at most. A rate of 0 is no limit.
   *
   * <p>Buckets are in two generations of half each: when the young one is full it becomes the old one, and the old one is forgotten. So
   * there is room for a flood of addresses, and a client among the last half keeps its bucket.
   */
  static final class Limit {
    static final int MAX_CLIENTS = 100_000;

    private record Bucket(double tokens, double since) {}

    private final double rate;
    final double burst;
    private final int half;
    private final DoubleSupplier seconds;
    private Map<String, Bucket> young = new HashMap<>();
    private Map<String, Bucket> old = new HashMap<>();

    /** A burst of 0 is the rate, at least 1. */
    Limit(double rate, double burst) {
      this(rate, burst, MAX_CLIENTS, () -> System.nanoTime() / 1e9);
    }

    Limit(double rate, double burst, int maxClients, DoubleSupplier seconds) {
      this.rate = rate;
      this.burst = burst == 0 ? Math.max(1, Math.ceil(rate)) : burst;
      this.half = maxClients / 2;
      this.seconds = seconds;
    }

    synchronized int held() {
      return young.size() + old.size();
    }

    /** 0 if there was a token, else the whole seconds until there is one. */
    synchronized long take(String client) {
      if (rate == 0) {
        return 0;
      }
      double now = seconds.getAsDouble();
      var known = young.containsKey(client) ? young.get(client) : old.get(client);
      var bucket = known == null ? new Bucket(burst, now) : known;
      double tokens = Math.min(burst, bucket.tokens() + (now - bucket.since()) * rate);
      long retryAfter = tokens >= 1 ? 0 : (long) Math.max(1, Math.ceil((1 - tokens) / rate));
      if (!young.containsKey(client) && young.size() >= half) {
        old = young;
        young = new HashMap<>();
      }
      young.put(client, new Bucket(retryAfter > 0 ? tokens : tokens - 1, now));
      return retryAfter;
    }
  }

  /**
   * A file that is read again when it changes, also by a symlink as Kubernetes swaps them. What is wrong then leaves the old content.
   */
  static final class Watched<T> {
    private static final Logger LOG = Logger.getLogger(Watched.class.getName());

    /** Makes a value of a text and the name of its file. */
    interface Parse<T> {
      T parse(String text, String name);
    }

    private final Path path;
    private final Parse<T> parse;
    private String seen;
    private volatile T value;

    private Watched(Path path, Parse<T> parse, T value) {
      this.path = path;
      this.parse = parse;
      this.value = value;
    }

    /** Without a file it is {@code otherwise}, for good. */
    static <T> Watched<T> file(String path, Parse<T> parse, T otherwise) {
      var watched = new Watched<>(path == null ? null : Path.of(path), parse, otherwise);
      if (path != null) {
        watched.seen = watched.state();
        watched.value = watched.read();
      }
      return watched;
    }

    T get() {
      return value;
    }

    /** Reads it if it has changed. For a timer. */
    void look() {
      var state = path == null ? null : state();
      if (path == null || state.equals(seen)) {
        return;
      }
      seen = state; // of before it is read: a change meanwhile is seen the next time
      try {
        value = read();
        LOG.warning(path + ": read again");
      } catch (BadFile bad) {
        LOG.severe(bad.getMessage() + "\n" + path + ": the old content stays");
      }
    }

    private T read() {
      try {
        return parse.parse(Files.readString(path), path.toString());
      } catch (IOException error) {
        throw new BadFile("cannot read " + path + ": " + error);
      }
    }

    private String state() {
      try {
        var found = Files.readAttributes(path, BasicFileAttributes.class);
        return found.lastModifiedTime() + " " + found.size() + " " + found.fileKey();
      } catch (IOException gone) {
        return "";
      }
    }
  }
}
