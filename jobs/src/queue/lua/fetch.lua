-- Takes jobs for a worker that runs them at once.
--
-- As apalis's fetch_next and acquire_leases in one step, but: nothing is moved from the scheduled
-- set, nothing is looked for in the list of waiting jobs, and an id without data or metadata, which
-- would fail every fetch, is dropped.
--
-- KEYS: workers set, inflight set of the worker, active list, data hash, metadata prefix, signal list
-- ARGV: worker name, most jobs to take
-- Returns: the data of each job, and its id and metadata
local worker = ARGV[1]
if not redis.call('ZSCORE', KEYS[1], worker) then
    return redis.error_reply('the worker is not registered')
end

local now = redis.call('TIME')[1]
local data, metas = {}, {}
local ids = redis.call('LRANGE', KEYS[3], 0, ARGV[2] - 1)
redis.call('LTRIM', KEYS[3], #ids, -1)
for _, id in ipairs(ids) do
    local meta = KEYS[5] .. ':' .. id
    local body = redis.call('HGET', KEYS[4], id)
    local known = redis.call('HMGET', meta, 'status', 'attempts', 'max_attempts')
    if body and known[1] and known[2] and known[3] then
        redis.call('SADD', KEYS[2], id)
        redis.call('HSET', meta, 'status', 'Running', 'locked_at', now, 'locked_by', worker)
        local fields = redis.call('HGETALL', meta)
        table.insert(fields, 1, id)
        table.insert(data, body)
        table.insert(metas, fields)
    else
        redis.call('HDEL', KEYS[4], id)
        redis.call('DEL', meta)
    end
end

if #ids < tonumber(ARGV[2]) then
    redis.call('DEL', KEYS[6])
end
return {data, metas}
