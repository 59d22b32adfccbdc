-- The request of `spop-bridge bench`, as HTTP, and a report that a program reads.
wrk.path = "/shop/products/4711/reviews?page=2&sort=newest"
wrk.headers["Host"] = "www.example.com"
wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
wrk.headers["Referer"] = "https://www.example.com/shop/products/4711"
wrk.headers["Cookie"] = "session=3f9c2a7be1d04c58a6b7; consent=all; theme=dark; lang=en"
wrk.headers["Authorization"] = "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiI0NzExIn0.MEUCIQDx0yq3T9vYkqPz"
wrk.headers["X-Request-Id"] = "8c5a1f0e-6b1d-4c55-9d2e-2f6d0c8e4b7a"

function done(summary, latency)
   local e = summary.errors
   io.write(string.format('{"requests": %d, "seconds": %f, "p50_us": %d, "p99_us": %d, "refused": %d, "failed": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
      e.status, e.connect + e.read + e.write + e.timeout))
end
