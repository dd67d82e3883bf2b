-- Decides all limits of a request, and charges all or none (GCRA).
-- KEYS: the state of each limit, "SEEN WHOLE PART UNITS": a theoretical arrival time of
-- WHOLE microseconds and PART/UNITS of one, written at SEEN.
-- ARGV: "1" to charge, "0" to look; then for each limit its units, the span of the cost
-- and the tolerance, each as whole microseconds and a part.
-- Answers: nothing if a state is not one that this script wrote; otherwise 1 if charged, the time, and of each limit WHOLE and PART before it was charged.
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local charge = ARGV[1] == '1'
local reply, states, times = {0, now}, {}, {}
for i, key in ipairs(KEYS) do
  local a = 2 + (i - 1) * 5
  local units, span, part = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  local tolerance, tolerancePart = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])
  local whole, rest = now, 0
  local state = redis.call('GET', key)
  if state then
    local s, w, p, u = string.match(state, '^(%d+) (%d+) (%d+) (%d+)$')
    s, w, p, u = tonumber(s), tonumber(w), tonumber(p), tonumber(u)
    if not u then return {} end
    -- The server's clock has gone back, perhaps by a failover: what lies ahead stays.
    if now < s then w = math.max(0, w - (s - now)) end
    if u ~= units then
      if p > 0 then w = w + 1 end
      p = 0
    end
    if w >= now then whole, rest = w, p end
  end
  table.insert(reply, whole)
  table.insert(reply, rest)
  local nextWhole, nextPart = whole + span, rest + part
  if nextPart >= units then nextWhole, nextPart = nextWhole + 1, nextPart - units end
  local over = nextWhole - now - tolerance
  if over > 0 or (over == 0 and nextPart > tolerancePart) then charge = false end
  if span > 0 or part > 0 then
    states[i] = string.format('%.0f %.0f %.0f %.0f', now, nextWhole, nextPart, units)
    times[i] = string.format('%.0f', math.floor((nextWhole - now) / 1000) + 2)
  end
end
if charge then
  for i, key in ipairs(KEYS) do
    if states[i] then redis.call('SET', key, states[i], 'PX', times[i]) end
  end
  reply[1] = 1
end
return reply
