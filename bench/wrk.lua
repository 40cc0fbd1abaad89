-- POSTs over and over; the body comes from a file, the result goes out as one line of JSON. Times in microseconds.
-- BENCH_QUESTIONS as in Spec.questions: with any number but 1, the number behind the mark "#" in the body changes.
local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
local body = file:read("*a")
file:close()
wrk.method = "POST"
wrk.body = body
wrk.headers["authorization"] = "Bearer sk-bench-0123456789abcdef"
wrk.headers["accept"] = "application/json"
wrk.headers["user-agent"] = "bench/1"
wrk.headers["content-type"] = "application/json"
if os.getenv("BENCH_NO_STORE") == "1" then
  wrk.headers["cache-control"] = "no-store"
end

local questions = tonumber(os.getenv("BENCH_QUESTIONS"))
if questions ~= 1 then
  local first, asked, front, back = tonumber(os.getenv("BENCH_FIRST")), 0, "", ""
  function init()
    local whole = wrk.format()
    local at = assert(whole:find("#%d%d%d%d%d%d%d%d%d%d%d%d"))
    front, back = whole:sub(1, at), whole:sub(at + 13)
  end
  function request()
    local number = questions > 0 and asked % questions or asked
    asked = asked + 1
    return front .. string.format("%012d", first + number) .. back
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end
