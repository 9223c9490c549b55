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

-- A text with a name, or what names begin or end with, in each line: 1, 0 or -1 as below.
local function decide_lines(any, name)
  if not name or type(any.names or '') ~= 'string' then return -1 end
  local is_line = any.names and not string.find(name, '\n', 1, true)
  if is_line and string.find(any.names, '\n' .. name .. '\n', 1, true) then return 1 end
  for start in string.gmatch(any.starts or '', '[^\n]+') do
    if string.sub(name, 1, #start) == start then return 1 end
  end
  for last in string.gmatch(any.ends or '', '[^\n]+') do
    if string.sub(name, -#last) == last then return 1 end
  end
  return 0
end

local function decide_one_of(any, name, decide)
  local answer = 0
  for kind in pairs(any) do
    if kind ~= 'names' and kind ~= 'starts' and kind ~= 'ends' and kind ~= 'rest' then answer = -1 end
  end
  if any.names or any.starts or any.ends then
    local one = decide_lines(any, name)
    if one == 1 then return 1 end
    if one == -1 then answer = -1 end
  end
  for _, each in ipairs(any.rest or {}) do
    local one = decide(each)
    if one == 1 then return 1 end
    if one == -1 then answer = -1 end
  end
  return answer
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
    elseif kind == 'any' then
      local answer = decide_one_of(wanted, name, function(each)
        return decide_selection(each, name, meta, age_ms)
      end)
      if answer == 0 then return 0 end
      undecided = undecided or answer == -1
    else
      undecided = true
    end
  end
  return undecided and -1 or 1
end

-- whether a job's function alone decides
local function is_by_name_only(selection)
  if selection.meta or selection.older_than_ms then return false end
  local any = type(selection.any) == 'table' and selection.any or {}
  for _, each in ipairs(any.rest or {}) do
    if each.meta or each.older_than_ms then return false end
  end
  return true
end

-- whether a criterion of this kind is asked for; that of functions has more than one form
local function selection_asks(selection, kind)
  if selection[kind] ~= nil then return true end
  local any = type(selection.any) == 'table' and selection.any or {}
  if kind == 'functions' and (any.names or any.starts or any.ends) then return true end
  for _, each in ipairs(any.rest or {}) do
    if each[kind] ~= nil then return true end
  end
  return false
end

-- 1: taken, 0: not taken, -1: undecided, because a criterion asks for something that is nil here,
-- or is of a newer version, or is damaged. What is known and does not match decides before that.
local function matches_selection(selection, name, meta, age_ms)
  local readable, answer = pcall(decide_selection, selection, name, meta, age_ms)
  return readable and answer or -1
end
