package com.example.decisions;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.example.decisions.Checks.BadFile;
import com.example.decisions.Checks.Blocklist;
import com.example.decisions.Checks.Keys;
import com.example.decisions.Checks.Limit;
import com.example.decisions.Checks.Watched;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.stream.DoubleStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** The three checks alone, held against ../conformance.json, with a clock of the test's own. */
class ChecksTest {
  private static final Conformance ALL = Conformance.ALL;

  @Test
  void theBlocklistFindsTheSmallestNetwork() {
    var blocklist = new Blocklist(Conformance.joined(ALL.blocklist), "list");
    for (var each : ALL.listed) {
      assertEquals(each.entry, blocklist.entry(CheckRequest.address(Conformance.value(each.ip))), each.ip);
    }
  }

  @Test
  void badLinesAreNamed() {
    assertBad(ALL.badBlocklist.bad, () -> new Blocklist(Conformance.joined(ALL.badBlocklist.lines), "a.txt"));
    assertBad(ALL.badKeys.bad, () -> new Keys(Conformance.joined(ALL.badKeys.lines), "a.txt"));
  }

  private static void assertBad(List<Integer> expected, Executable parse) {
    var message = assertThrows(BadFile.class, parse).getMessage();
    assertEquals(expected, message.lines().map(line -> Integer.valueOf(line.split(":")[1])).toList());
    assertFalse(message.contains("let-me-in"), "a key is shown");
  }

  @Test
  void keysAreKnownByTheirHash() {
    var keys = new Keys(Conformance.joined(ALL.keys), "keys");
    for (var each : ALL.tokens) {
      var token = each.token == null ? "" : each.token;
      assertEquals(each.name, keys.nameOf(token.getBytes(StandardCharsets.UTF_8)), token);
    }
    assertEquals("default", new Keys().nameOf("let-me-in".getBytes(StandardCharsets.UTF_8)));
  }

  @Test
  void whomABucketIsFor() {
    for (var each : ALL.clients) {
      assertEquals(each.client, Checks.clientOf(CheckRequest.address(Conformance.value(each.ip))), each.ip);
    }
  }

  @Test
  void theBucketIsExact() {
    for (var each : ALL.limits) {
      var now = new AtomicReference<>(0.0);
      var limit = new Limit(each.rate, each.burst, each.max, now::get);
      for (int number = 0; number < each.takes.size(); number++) {
        var take = each.takes.get(number);
        now.set(take.at);
        assertEquals(take.retryAfter, limit.take(take.client), each.what + ": " + number);
      }
    }
  }

  @Test
  void aFloodOfClientsFillsNoMemory() {
    var limit = new Limit(1, 1, 1000, () -> 0);
    for (int client = 0; client < 10_000; client++) {
      limit.take(String.valueOf(client));
      assertTrue(limit.held() <= 1000);
    }
  }

  @Test
  void burstIsTheRateUnlessItIsGiven() {
    var bursts = DoubleStream.of(0, 0.5, 2.5, 10).map(rate -> new Limit(rate, 0).burst).boxed().toList();
    assertEquals(List.of(1.0, 1.0, 3.0, 10.0), bursts);
    assertEquals(0, new Limit(0, 0).take("a"));
  }

  @Test
  void aFileIsReadAgainAndABadOneIsNotTaken(@TempDir Path folder) throws Exception {
    Logger.getLogger(Watched.class.getName()).setLevel(Level.OFF);
    var path = folder.resolve("list");
    swap(path, "192.0.2.1\n");
    var file = Watched.file(path.toString(), Blocklist::new, new Blocklist());
    var first = file.get();
    file.look();
    assertEquals(first, file.get(), "nothing has changed");
    swap(path, "192.0.2.11\nnonsense\n");
    file.look();
    assertEquals(first, file.get(), "a bad file was taken");
    swap(path, "192.0.2.111\n");
    file.look();
    assertEquals("192.0.2.111", file.get().entry(Checks.address("192.0.2.111")));
    Files.delete(path);
    file.look();
    assertEquals("192.0.2.111", file.get().entry(Checks.address("192.0.2.111")));
    Logger.getLogger(Watched.class.getName()).setLevel(null);
  }

  /** As Kubernetes does it: a link goes elsewhere. */
  private static void swap(Path path, String text) throws Exception {
    var file = Files.writeString(path.resolveSibling(String.valueOf(text.length())), text);
    var link = Files.createSymbolicLink(path.resolveSibling("new"), file);
    Files.move(link, path, StandardCopyOption.ATOMIC_MOVE);
  }

  @Test
  void flagsAreChecked() {
    assertEquals("1", Main.flags(new String[] {"--rate", "1"}).get("--rate"));
    assertThrows(IllegalArgumentException.class, () -> Main.flags(new String[] {"--rate"}));
    assertThrows(IllegalArgumentException.class, () -> Main.flags(new String[] {"--rat", "1"}));
  }
}
