-- Counts the jobs of one queue by state, and lists those in one state, in one consistent
-- look. A job's state is where it is: apalis leaves the status in its metadata stale when
-- it moves one.
--
-- KEYS[1] the queue. ARGV[1] how many ids of a place are read at most; ARGV[2] the state to
-- list, "*" for all, "" for none.
-- Returns { {pending, queued, running, failed, done, killed}, {id, state, due, ...} }, with
-- due = "" unless the job waits for its time.
local queue, window, wanted = KEYS[1], tonumber(ARGV[1]), ARGV[2]
local order = {"Pending", "Queued", "Running", "Failed", "Done", "Killed"}
local counts, found = {}, {}
for _, state in ipairs(order) do counts[state] = 0 end

local function status_of(id)
    return redis.call("HGET", queue .. ":meta:" .. id, "status")
end

local function list(id, state, due)
    if wanted == "*" or wanted == state then
        found[#found + 1] = id
        found[#found + 1] = state
        found[#found + 1] = due
    end
end

local function see(id, state, due)
    counts[state] = counts[state] + 1
    list(id, state, due)
end

-- A job that waits has failed before or not; what lies beyond the window counts as new.
local function see_waiting(id, due)
    see(id, status_of(id) == "Failed" and "Failed" or "Pending", due)
end

for _, worker in ipairs(redis.call("ZRANGE", queue .. ":workers", 0, -1)) do
    for _, id in ipairs(redis.call("SMEMBERS", queue .. ":inflight:" .. worker)) do
        see(id, status_of(id) == "Running" and "Running" or "Queued", "")
    end
end

for _, id in ipairs(redis.call("LRANGE", queue .. ":active", 0, window - 1)) do
    see_waiting(id, "")
end
counts.Pending = counts.Pending + math.max(0, redis.call("LLEN", queue .. ":active") - window)

local scheduled = redis.call("ZRANGE", queue .. ":scheduled", 0, window - 1, "WITHSCORES")
for i = 1, #scheduled, 2 do
    see_waiting(scheduled[i], scheduled[i + 1])
end
counts.Pending = counts.Pending + math.max(0, redis.call("ZCARD", queue .. ":scheduled") - window)

local dead = redis.call("SSCAN", queue .. ":dead", 0, "COUNT", window)[2]
for _, id in ipairs(dead) do
    see(id, status_of(id) == "Killed" and "Killed" or "Failed", "")
end
counts.Failed = counts.Failed + redis.call("SCARD", queue .. ":dead") - #dead

counts.Done = redis.call("SCARD", queue .. ":done")
if wanted == "*" or wanted == "Done" then
    for _, id in ipairs(redis.call("SSCAN", queue .. ":done", 0, "COUNT", window)[2]) do
        list(id, "Done", "")
    end
end

local totals = {}
for _, state in ipairs(order) do totals[#totals + 1] = counts[state] end
return {totals, found}
