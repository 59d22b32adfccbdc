package com.example.decisions;

import com.example.decisions.Checks.BadFile;
import com.example.decisions.Checks.Blocklist;
import com.example.decisions.Checks.Keys;
import com.example.decisions.Checks.Limit;
import com.example.decisions.Checks.Watched;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/**
 * A decision service for spop-bridge: bad addresses, API keys for /admin, a rate limit.
 *
 * <p>It answers the message {@code check-request} with the args {@code ip}, {@code path} and {@code token}. ../README.md says what it
 * decides, README.md how to run it.
 */
final class Main {
  private static final String USAGE =
      "usage: java -jar decisions.jar [--listen host:port|unix:path] [--blocklist FILE] [--keys FILE] [--rate N [--burst N]]";
  private static final Set<String> FLAGS = Set.of("--listen", "--blocklist", "--keys", "--rate", "--burst");

  private Main() {}

  public static void main(String[] args) throws InterruptedException {
    System.setProperty("java.util.logging.SimpleFormatter.format", "%5$s%6$s%n");
    var listen = "127.0.0.1:50051";
    try {
      var flags = flags(args);
      listen = flags.getOrDefault("--listen", listen);
      var blocklist = Watched.file(flags.get("--blocklist"), Blocklist::new, new Blocklist());
      var keys = Watched.file(flags.get("--keys"), Keys::new, new Keys());
      var limit = new Limit(number(flags, "--rate", 0), number(flags, "--burst", 1));
      var service = new Service(listen, new CheckRequest(blocklist::get, keys::get, limit));
      var watch = Executors.newSingleThreadScheduledExecutor();
      for (var file : new Watched<?>[] {blocklist, keys}) {
        watch.scheduleWithFixedDelay(file::look, 1, 1, TimeUnit.SECONDS);
      }
      System.out.println("listening on " + service.address());
      stopWhenTold(service);
    } catch (BadFile bad) {
      fail(bad.getMessage());
    } catch (IllegalArgumentException wrong) {
      fail(wrong.getMessage() + "\n" + USAGE);
    } catch (IOException error) {
      fail("cannot listen on " + listen + ": " + (error.getCause() == null ? error : error.getCause()).getMessage());
    }
  }

  /** SIGTERM and Ctrl-C run the hook, and the JVM ends with it. */
  private static void stopWhenTold(Service service) throws InterruptedException {
    var told = new CountDownLatch(1);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      try {
        service.stop();
      } catch (InterruptedException hurry) {
        Thread.currentThread().interrupt();
      }
      // Else the JVM ends with 128 + the signal's number, which looks like a failure.
      Runtime.getRuntime().halt(0);
    }));
    told.await();
  }

  static Map<String, String> flags(String[] args) {
    var flags = new HashMap<String, String>();
    for (int i = 0; i < args.length; i += 2) {
      if (!FLAGS.contains(args[i]) || i + 1 == args.length) {
        throw new IllegalArgumentException(args[i] + ": no such flag, or one without a value");
      }
      flags.put(args[i], args[i + 1]);
    }
    return flags;
  }

  /** 0 if it is not given. */
  private static double number(Map<String, String> flags, String flag, double least) {
    if (!flags.containsKey(flag)) {
      return 0;
    }
    try {
      double number = Double.parseDouble(flags.get(flag));
      if (number >= least && number < Double.POSITIVE_INFINITY) {
        return number;
      }
    } catch (NumberFormatException not) {
      // said below
    }
    throw new IllegalArgumentException(flag + " " + flags.get(flag) + ": expected a number of at least " + (int) least);
  }

  private static void fail(String message) {
    System.err.println(message);
    System.exit(1);
  }
}
