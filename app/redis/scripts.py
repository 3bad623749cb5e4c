"""The Lua scripts that change members, each all or nothing, and how they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Sequence
from functools import cache
from typing import Any

from redis.exceptions import ResponseError

from app.redis.errors import MembersLost, StaleEpoch

# KEYS: meta, counts, the sets that change.
# ARGV: Kafka cluster, epoch, flush (empty in all calls but the last), the flushes at which the
# partition may stand (",12,13,", ",," for none); for each set the number of its members, and for
# each of them property text and packed operations (empty: it is no member).
WRITE = """
local meta, counts = KEYS[1], KEYS[2]
local cluster = redis.call('HGET', meta, 'cluster') or ARGV[1]
if cluster ~= ARGV[1] then
  return redis.error_reply('MEMBERSLOST in Kafka cluster ' .. cluster)
end
local known = tonumber(redis.call('HGET', meta, 'epoch') or '0')
if known > tonumber(ARGV[2]) then
  return redis.error_reply('STALEEPOCH ' .. known)
end
local stands = redis.call('HGET', meta, 'flush') or ''
if not string.find(ARGV[4], ',' .. stands .. ',', 1, true) then
  return redis.error_reply('MEMBERSLOST at flush ' .. stands)
end
local members = tonumber(redis.call('HGET', meta, 'members') or '0')
if members > 0 and redis.call('EXISTS', counts) == 0 then
  return redis.error_reply('MEMBERSLOST without their counts')
end
redis.call('HSET', meta, 'cluster', ARGV[1], 'epoch', ARGV[2])
local total = 0
local at = 5
for i = 3, #KEYS do
  local change = 0
  if not redis.call('HGET', counts, KEYS[i]) then
    redis.call('UNLINK', KEYS[i])
  end
  for _ = 1, tonumber(ARGV[at]) do
    if ARGV[at + 2] == '' then
      change = change - redis.call('HDEL', KEYS[i], ARGV[at + 1])
    else
      change = change + redis.call('HSET', KEYS[i], ARGV[at + 1], ARGV[at + 2])
    end
    at = at + 2
  end
  at = at + 1
  total = total + change
  if change ~= 0 and redis.call('HINCRBY', counts, KEYS[i], change) == 0 then
    redis.call('HDEL', counts, KEYS[i])
  end
end
redis.call('HINCRBY', meta, 'members', total)
if ARGV[3] ~= '' then
  redis.call('HSET', meta, 'flush', ARGV[3])
end
return 1
"""

# KEYS: meta, counts, sets that are dropped. ARGV: Kafka cluster, epoch, mark. Until all is written
# anew marks stand for the flush. Epochs of another cluster say nothing. Answers whether the counts
# name all sets. Without meta nothing is left, or Redis may evict it.
CLAIM = """
local known = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
local ours = (redis.call('HGET', KEYS[1], 'cluster') or ARGV[1]) == ARGV[1]
if ours and known > tonumber(ARGV[2]) then
  return redis.error_reply('STALEEPOCH ' .. known)
end
local named = redis.call('EXISTS', KEYS[2]) == 1 or redis.call('EXISTS', KEYS[1]) == 0
  or redis.call('HGET', KEYS[1], 'members') == '0'
redis.call('HSET', KEYS[1], 'cluster', ARGV[1], 'epoch', ARGV[2], 'flush', ARGV[3])
if named then
  redis.call('HSET', KEYS[1], 'members', '0')
else
  redis.call('HDEL', KEYS[1], 'members')
end
for i = 3, #KEYS do
  redis.call('UNLINK', KEYS[i])
  redis.call('HDEL', KEYS[2], KEYS[i])
end
return named and 1 or 0
"""

# KEYS: counts, sets. Answers how many members the sets have, and how many of them have others
# than were counted for them.
COUNT = """
local counted = redis.call('HMGET', KEYS[1], unpack(KEYS, 2))
local members, wrong = 0, 0
for i = 2, #KEYS do
  local length = redis.call('HLEN', KEYS[i])
  members = members + length
  if length ~= tonumber(counted[i - 1] or '0') then
    wrong = wrong + 1
  end
end
return {members, wrong}
"""


def call_script(
    client: Any, script: str, keys: Sequence[bytes], arguments: Sequence[Any] = ()
) -> Any:
    """Call a script by its hash; of a pipeline, as a part of it."""
    return client.execute_command("EVALSHA", _hash_of(script), len(keys), *keys, *arguments)


@cache
def _hash_of(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


async def refused(number: int, call: Awaitable[Any]) -> Any:
    """Await a call of the scripts and name what they refuse."""
    try:
        return await call
    except ResponseError as error:
        if "STALEEPOCH" in str(error):
            raise StaleEpoch(f"partition {number} has a newer owner") from error
        if "MEMBERSLOST" in str(error):
            told = str(error).partition("MEMBERSLOST ")[2]
            raise MembersLost(f"members of partition {number} stand {told}") from error
        raise
