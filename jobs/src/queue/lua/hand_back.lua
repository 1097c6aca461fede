-- Hands back jobs that a worker has taken.
--
-- KEYS: inflight set of the worker, active list, data hash, metadata prefix, signal list
-- ARGV: 'only' these ids, or all 'except' these
-- Returns: how many jobs wait again
local only = ARGV[1] == 'only'
local named = {}
for index = 2, #ARGV do
    named[ARGV[index]] = true
end

local returned = 0
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    if (named[id] or false) == only then
        redis.call('SREM', KEYS[1], id)
        local meta = KEYS[4] .. ':' .. id
        -- An id without data or metadata is a leftover that would fail every fetch.
        if redis.call('HEXISTS', KEYS[3], id) == 1 and redis.call('HEXISTS', meta, 'status') == 1 then
            redis.call('LPUSH', KEYS[2], id)
            redis.call('HSET', meta, 'status', 'Pending')
            redis.call('HDEL', meta, 'locked_at', 'locked_by')
            returned = returned + 1
        else
            redis.call('HDEL', KEYS[3], id)
            redis.call('DEL', meta)
        end
    end
end

if returned > 0 then
    redis.call('DEL', KEYS[5])
    redis.call('LPUSH', KEYS[5], 1)
end
return returned
