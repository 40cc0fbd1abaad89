-- One POST over and over; the body comes from a file, the result goes out as one line of JSON. Times in microseconds.
local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
wrk.headers["authorization"] = "Bearer sk-bench-0123456789abcdef"
wrk.headers["accept"] = "application/json"
wrk.headers["user-agent"] = "bench/1"
wrk.headers["content-type"] = "application/json"

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"failed":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
