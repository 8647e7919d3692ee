-- POST the lines of a file in turn: wrk ... -s predict.lua URL -- FILE [LOAD SEED]; at the end one line of JSON for
-- wrk.py. Where data of tensors follows, a line has the lengths of the JSON and of the data, then come both. LOAD is "traceparent" (each request has another one) or "livez" (one request in 100 is GET /livez instead).
local requests = {}
local turn = 0
local load, livez
local threads = {}
odd = -1 -- requests that are no prediction; global, so that `done` can read it

setup = function(thread)
  threads[#threads + 1] = thread
end

init = function(args)
  local file = io.open(args[1], "rb")
  while true do
    local line = file:read("*l")
    if not line then break end
    local headers = { ["Content-Type"] = "application/json" }
    local json, binary = line:match("^(%d+) (%d+)$")
    if json then
      headers = { ["Content-Type"] = "application/octet-stream", ["Inference-Header-Content-Length"] = json }
      line = file:read(tonumber(json) + tonumber(binary))
      file:read("*l")
    end
    local text = wrk.format("POST", nil, headers, line)
    local first = text:find("\r\n", 1, true) + 1
    requests[#requests + 1] = { all = text, line = text:sub(1, first), rest = text:sub(first + 1) }
  end
  livez = wrk.format("GET", "/livez")
  load = args[2]
  math.randomseed(tonumber(args[3] or "0"))
end

local function word()
  return math.random(0, 4294967295)
end

request = function()
  if odd < 0 then -- wrk looks at the first one and does not send it
    odd = 0
    return requests[1].all
  end
  -- At random: wrk serves its connections in turn, and a fixed distance would always fall on the same ones.
  if load == "livez" and math.random(100) == 1 then
    odd = odd + 1
    return livez
  end
  turn = turn % #requests + 1
  local found = requests[turn]
  if load == "traceparent" then
    local ids = string.format("00-%08x%08x%08x%08x-%08x%08x-00", word(), word(), word(), word(), word(), word())
    return found.line .. "traceparent: " .. ids .. "\r\n" .. found.rest
  end
  return found.all
end

done = function(summary, latency, requests)
  local e = summary.errors
  local others = 0
  for _, thread in ipairs(threads) do
    others = others + thread:get("odd")
  end
  io.write(string.format(
    '\n{"requests":%d,"odd":%d,"microseconds":%d,"p50":%d,"p99":%d,"unanswered":%d,"refused":%d}\n',
    summary.requests, others, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.timeout, e.status))
end
