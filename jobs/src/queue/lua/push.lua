-- Pushes jobs, all or none, as long as the queue holds no more than it may.
--
-- As apalis's batch_push, but: the depth is checked in the same step, and the jobs go
-- straight to the list of active jobs, so that no fetch ever has to move them there.
--
-- KEYS: active list, scheduled set, data hash, metadata prefix, signal list
-- ARGV: most jobs that may wait, then id, body and identity of each job
-- Returns: how many wait now (0: full)
local offered = (#ARGV - 1) / 3
local waiting = redis.call('LLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2])
if waiting + offered > tonumber(ARGV[1]) then
    return 0
end

for i = 2, #ARGV, 3 do
    local id = ARGV[i]
    redis.call('HSET', KEYS[3], id, ARGV[i + 1])
    redis.call('HSET', KEYS[4] .. ':' .. id,
        'attempts', 0, 'max_attempts', 1, 'status', 'Pending',
        'idempotency_key', '', 'identity', ARGV[i + 2])
    redis.call('RPUSH', KEYS[1], id)
end

redis.call('DEL', KEYS[5])
redis.call('LPUSH', KEYS[5], 1)
return waiting + offered
