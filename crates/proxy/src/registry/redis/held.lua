-- Who has a stream, as the value of its key says: `origin token` until another counts on it, `origin` from then on, `origin !`
-- once the origin has the stream. The holder and the mark (nil, if nobody has it), and 1 if no proxy wrote that.
local function held(value)
  if not value then
    return nil, nil, 0
  end
  if type(value) == 'string' and #value < 200 then
    local holder, gap, mark = string.match(value, '^([%w._:%-%[%]]+)( ?)([%x!]*)$')
    if holder and #holder <= 128 and not (gap == '' and mark ~= '') then
      return holder, mark, 0
    end
  end
  return nil, nil, 1
end
