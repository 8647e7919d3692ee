-- POST /predict with rows of iris in turn, none of them an outlier; at the end one line of JSON for wrk.py.
local rows = {
  "[5.1,3.5,1.4,0.2]", "[4.9,3.0,1.4,0.2]", "[5.0,3.4,1.5,0.2]", "[5.4,3.7,1.5,0.2]",
  "[6.4,3.2,4.5,1.5]", "[5.7,2.8,4.5,1.3]", "[6.1,2.9,4.7,1.4]", "[5.6,2.9,3.6,1.3]",
  "[6.7,3.0,5.2,2.3]", "[6.5,3.0,5.8,2.2]", "[6.3,2.8,5.1,1.5]", "[6.9,3.1,5.4,2.1]",
}
local requests = {}
local turn = 0

init = function(args)
  local headers = { ["Content-Type"] = "application/json" }
  for i, row in ipairs(rows) do
    requests[i] = wrk.format("POST", "/predict", headers, '{"data":[' .. row .. ']}')
  end
end

request = function()
  turn = turn % #requests + 1
  return requests[turn]
end

done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"unanswered":%d,"refused":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.timeout, e.status))
end
