-- The second until which finished jobs are too many. A set has no order, so a sample tells.
--
-- KEYS: set of finished ids
-- ARGV: metadata prefix, how many may stay, size of the sample
-- Returns: second, or 0 when all may stay
local size, most = redis.call('SCARD', KEYS[1]), tonumber(ARGV[2])
if size <= most then
    return 0
end
local seconds = {}
for _, id in ipairs(redis.call('SRANDMEMBER', KEYS[1], ARGV[3])) do
    local done_at = redis.call('HGET', ARGV[1] .. ':' .. id, 'done_at')
    seconds[#seconds + 1] = tonumber(done_at or 0)
end
table.sort(seconds)
return seconds[math.ceil(#seconds * (size - most) / size)]
