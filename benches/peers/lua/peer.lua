-- Lua: a table with the metamethod __gc. LuaJIT: ffi.gc. See ../README.md.
-- Both run finalizers inside the collection: discovery ends with the first call, drain with the last.
local kind, work, n, dead = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
local jit = rawget(_G, "jit")
local ffi = jit and require("ffi")
local clock = os.clock -- processor time, in seconds; everything here is one thread
if ffi then
  ffi.cdef [[
    typedef struct { uint64_t a, b, c, d; } thing;
    typedef struct { long seconds, nanoseconds; } timespec_;
    int clock_gettime(int, timespec_ *);
  ]]
  local time = ffi.new("timespec_")
  clock = function()
    ffi.C.clock_gettime(1, time)
    return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
  end
end

local calls, wanted, first, last = 0, -1, 0, 0
local function tick()
  if calls == 0 then first = clock() end
  calls = calls + 1
  if calls == wanted then last = clock() end
end

local registers = kind ~= "none"
local thing, register
if ffi then
  local new, gc = ffi.typeof("thing"), ffi.gc
  thing = function() return new() end
  register = function(object) gc(object, tick) end
else
  local meta, set = { __gc = tick }, setmetatable
  thing = registers and function(i) return set({ a = i }, meta) end or function(i) return { a = i } end
end

local function collect()
  collectgarbage("collect")
  collectgarbage("stop")
end

local phases
local function note(name, begun, ended) phases[#phases + 1] = { name, (ended - begun) * 1e9 / n } end
local function timed(name, body)
  local begun = clock()
  body()
  note(name, begun, clock())
end

-- A linear congruence that fits a double, from which the high half is taken.
local function shuffled(below)
  local state = 12345
  return function()
    state = (state * 1103515245 + 12345) % 2147483648
    return math.floor(state / 65536) % below
  end
end

local function cycle()
  collectgarbage("stop")
  local keep = {}
  timed("alloc", function() for i = 1, n do keep[i] = thing(i) end end)
  if registers and register then
    timed("register", function() for i = 1, n do register(keep[i]) end end)
  end
  collect()
  timed("live", collect)
  local dropped, next = 0, shuffled(100)
  for i = 1, n do
    if next() < dead then
      keep[i] = false
      dropped = dropped + 1
    end
  end
  calls, wanted = 0, dropped
  local begun = clock()
  collect()
  local ended = clock()
  if registers then
    assert(calls == dropped, calls .. " finalizers ran, wanted " .. dropped)
    note("discover", begun, first)
    note("drain", first, last)
    begun = last
  else
    note("discover", begun, ended)
    begun = ended
  end
  -- The rest of that collection, and the next one.
  local rest = ended - begun
  begun = clock()
  collect()
  note("free", begun, clock() + rest)
  keep = nil
  wanted = -1
  collect()
  collect()
end

-- Puts values into a random order, the same each time: two draws make a number that is large enough.
local function shuffle(values)
  local next = shuffled(32768)
  for last = #values, 2, -1 do
    local other = (next() * 32768 + next()) % last + 1
    values[last], values[other] = values[other], values[last]
  end
end

-- Both in a random order if so said.
local function cancel(random)
  collectgarbage("stop")
  local keep = {}
  for i = 1, n do keep[i] = thing(i) end
  if random then shuffle(keep) end
  timed("register", function() for i = 1, n do register(keep[i]) end end)
  if random then shuffle(keep) end
  local gc = ffi.gc
  timed("cancel", function() for i = 1, n do gc(keep[i], nil) end end)
  keep = nil
  collect()
end

-- Bytes of the process that are in memory.
local function resident()
  local file = assert(io.open("/proc/self/statm"))
  local _, pages = file:read("*n", "*n")
  file:close()
  return pages * 4096
end

-- Finalizers run inside the collection, so none is ever queued.
local function memory()
  collectgarbage("stop")
  local keep = {}
  for i = 1, n do keep[i] = thing(i) end
  collect()
  local small = resident()
  for i = 1, n do register(keep[i]) end
  phases[#phases + 1] = { "memory", (resident() - small) / n }
end

-- A tree of so many nodes, each a table with two elements.
local function grow(nodes)
  if nodes == 0 then return nil end
  local below = nodes - 1
  local half = math.floor(below / 2)
  local left, right = grow(half), grow(below - half)
  return { left, right }
end

local function tree()
  collectgarbage("stop")
  local kept
  timed("alloc", function() kept = grow(n) end)
  collect()
  timed("live", collect)
  kept = nil
  timed("free", collect)
end

local function tree_churn()
  local kept = grow(n)
  local trees = math.ceil(4 * n / 127)
  collectgarbage("restart")
  local begun = clock()
  for _ = 1, trees do grow(127) end
  phases[#phases + 1] = { "churn", (clock() - begun) * 1e9 / (127 * trees) }
  assert(kept)
  kept = nil
  collect()
end

local function churn()
  collectgarbage("restart")
  calls, wanted = 0, -1
  local ring, window, steps = {}, math.max(math.floor(n / 10), 1), {}
  timed("churn", function()
    local before = clock()
    for i = 1, n do
      local object = thing(i)
      if registers and register then register(object) end
      ring[i % window + 1] = object
      if i % 100 == 0 then
        local now = clock()
        steps[#steps + 1] = (now - before) * 1e9
        before = now
      end
    end
  end)
  if registers then phases[#phases + 1] = { "backlog", 100 * (n - window - calls) / n } end
  ring = nil
  collect()
  collect()
  table.sort(steps)
  for _, part in ipairs { { "p50", 0.5 }, { "p99", 0.99 }, { "p999", 0.999 }, { "max", 1 } } do
    phases[#phases + 1] = { part[1], steps[math.floor((#steps - 1) * part[2]) + 1] }
  end
end

local works = {
  cycle = cycle, cancel = cancel, random = function() cancel(true) end, churn = churn,
  memory = memory, tree = tree, ["tree-churn"] = tree_churn,
}

io.stdout:setvbuf("line")
print(string.format('{"version":"%s"}', jit and jit.version or _VERSION))
for _ in io.lines() do
  phases = {}
  works[work]()
  local texts = {}
  for i, phase in ipairs(phases) do texts[i] = string.format('"%s":%.2f', phase[1], phase[2]) end
  print("{" .. table.concat(texts, ",") .. "}")
end
