-- Which jobs a divert takes. A glob is `pieces`, Lua patterns of a fixed `width` in bytes that stand
-- between its stars; `head` and `tail` tie the first and the last piece to the ends of the name.
-- Nothing is tried twice, so no glob is slow. The twin of the matcher in selection.py, step for step.

local function matches_glob(glob, name)
  local position = 1
  for number, pattern in ipairs(glob.pieces) do
    local start, anchored = position, glob.head and number == 1
    if glob.tail and number == #glob.pieces then
      start = #name - glob.width[number] + 1
      if start < position or (anchored and start ~= position) then return false end
      anchored = true
    end
    local _, last = string.find(name, anchored and '^' .. pattern or pattern, start)
    if not last then return false end
    position = last + 1
  end
  return true
end

local function decide_selection(selection, name, meta, age_ms)
  local undecided = false
  for kind, wanted in pairs(selection) do
    if kind == 'older_than_ms' and age_ms then
      if age_ms < wanted then return 0 end
    elseif kind == 'meta' and meta then
      for field, value in pairs(wanted) do
        if meta[field] ~= value then return 0 end
      end
    elseif kind == 'functions' and name then
      local found = false
      for _, glob in ipairs(wanted) do found = found or matches_glob(glob, name) end
      if not found then return 0 end
    else
      undecided = true
    end
  end
  return undecided and -1 or 1
end

-- 1: taken, 0: not taken, -1: undecided, because a criterion asks for something that is nil here,
-- or is of a newer version, or is damaged. What is known and does not match decides before that.
local function matches_selection(selection, name, meta, age_ms)
  local readable, answer = pcall(decide_selection, selection, name, meta, age_ms)
  return readable and answer or -1
end
