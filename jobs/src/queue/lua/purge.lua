-- Forgets finished jobs, one bounded step.
--
-- KEYS: set of finished ids, data hash, metadata prefix, totals hash
-- ARGV: field of the totals, cursor, size of a step, newest second to forget
-- Returns: next cursor, how many jobs were removed
local page = redis.call('SSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
local removed = 0
for _, id in ipairs(page[2]) do
    local meta = KEYS[3] .. ':' .. id
    local done_at = redis.call('HGET', meta, 'done_at')
    if not done_at or tonumber(done_at) <= tonumber(ARGV[4]) then
        redis.call('DEL', meta)
        redis.call('HDEL', KEYS[2], id)
        removed = removed + redis.call('SREM', KEYS[1], id)
    end
end
if removed > 0 then
    redis.call('HINCRBY', KEYS[4], ARGV[1], removed)
end
return {page[1], removed}
