-- Removes the metadata of workers that are gone.
--
-- KEYS: worker names, workers set, prefix of worker metadata, prefix of inflight sets
-- Returns: how many workers were forgotten
local forgotten = 0
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    local alive = redis.call('ZSCORE', KEYS[2], name)
    local holds = redis.call('EXISTS', KEYS[4] .. ':' .. name)
    if not alive and holds == 0 then
        redis.call('DEL', KEYS[3] .. ':' .. name)
        redis.call('SREM', KEYS[1], name)
        forgotten = forgotten + 1
    end
end
return forgotten
