-- Readies a queue for a starting worker.
--
-- Remembers the worker's name, so that its metadata key can be found and removed once the
-- worker is gone. Then moves due scheduled jobs to the active list in small steps: the
-- fetch of apalis moves all of them with one `unpack`, which fails from 8,000 on and would
-- meet the same jobs at every restart.
--
-- KEYS: active list, scheduled set, worker names
-- ARGV: worker name
redis.call('SADD', KEYS[3], ARGV[1])

local now = redis.call('TIME')[1]
local moved = 0
while true do
    local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000)
    if #ids == 0 then
        return moved
    end
    redis.call('RPUSH', KEYS[1], unpack(ids))
    redis.call('ZREM', KEYS[2], unpack(ids))
    moved = moved + #ids
end
