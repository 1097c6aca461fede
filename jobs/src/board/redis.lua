-- Counts the jobs of one queue by state, and lists those in one state, in one consistent
-- look. A job's state is the place it is in: its metadata is stale while it moves.
--
-- KEYS: active list, scheduled set, workers set, done set, dead set, totals hash
-- ARGV: prefix of inflight sets, metadata prefix, how many ids of a place are listed at most,
--       the state to list ("*" for all, "" for none)
-- Returns: { {pending, queued, running, failed, done}, {id, state, due, ...} }; counts include
--          what was purged; due is "" unless the job waits for its time
local inflight, meta, window, wanted = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local found = {}

local function wants(state)
    return wanted == '*' or wanted == state
end

local function list(ids, state)
    for _, id in ipairs(ids) do
        found[#found + 1] = id
        found[#found + 1] = state
        found[#found + 1] = ''
    end
end

local taken = { Queued = {}, Running = {} }
for _, worker in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    for _, id in ipairs(redis.call('SMEMBERS', inflight .. ':' .. worker)) do
        local status = redis.call('HGET', meta .. ':' .. id, 'status')
        table.insert(status == 'Running' and taken.Running or taken.Queued, id)
    end
end
for state, ids in pairs(taken) do
    if wants(state) then list(ids, state) end
end

if wants('Pending') then
    list(redis.call('LRANGE', KEYS[1], 0, window - 1), 'Pending')
    local scheduled = redis.call('ZRANGE', KEYS[2], 0, window - 1, 'WITHSCORES')
    for i = 1, #scheduled, 2 do
        list({ scheduled[i] }, 'Pending')
        found[#found] = scheduled[i + 1]
    end
end
if wants('Failed') then
    list(redis.call('SSCAN', KEYS[5], 0, 'COUNT', window)[2], 'Failed')
end
if wants('Done') then
    list(redis.call('SSCAN', KEYS[4], 0, 'COUNT', window)[2], 'Done')
end

local purged = redis.call('HMGET', KEYS[6], 'dead', 'done')
return {
    {
        redis.call('LLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2]),
        #taken.Queued,
        #taken.Running,
        redis.call('SCARD', KEYS[5]) + tonumber(purged[1] or 0),
        redis.call('SCARD', KEYS[4]) + tonumber(purged[2] or 0),
    },
    found,
}
