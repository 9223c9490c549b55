-- The server's clock, and RQ's timestamps (ISO 8601, UTC) as milliseconds.
-- Day arithmetic: Howard Hinnant, "chrono-compatible low-level date algorithms".

local function now_precise()
  local time = redis.call('TIME')
  return time[1] * 1000 + time[2] / 1000
end

local function now_ms()
  return math.floor(now_precise())
end

local function iso_to_ms(text)
  if not text then return nil end
  local year, month, day, hour, minute, second, fraction =
    string.match(text, '^(%d+)-(%d+)-(%d+)[T ](%d+):(%d+):(%d+)%.?(%d*)')
  if not year then return nil end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local year_of_era = year - era * 400
  local day_of_year = math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  local day_of_era = year_of_era * 365 + math.floor(year_of_era / 4)
    - math.floor(year_of_era / 100) + day_of_year
  local days = era * 146097 + day_of_era - 719468
  local milliseconds = 0
  if fraction ~= '' then milliseconds = math.floor(tonumber('0.' .. fraction) * 1000) end
  return ((days * 24 + hour) * 60 + minute) * 60000 + second * 1000 + milliseconds
end

local function ms_to_iso(milliseconds)
  local seconds = math.floor(milliseconds / 1000)
  local days = math.floor(seconds / 86400)
  local rest = seconds - days * 86400
  local shifted = days + 719468
  local era = math.floor(shifted / 146097)
  local day_of_era = shifted - era * 146097
  local year_of_era = math.floor((day_of_era - math.floor(day_of_era / 1460)
    + math.floor(day_of_era / 36524) - math.floor(day_of_era / 146096)) / 365)
  local day_of_year = day_of_era - (365 * year_of_era + math.floor(year_of_era / 4)
    - math.floor(year_of_era / 100))
  local month_index = math.floor((5 * day_of_year + 2) / 153)
  local day = day_of_year - math.floor((153 * month_index + 2) / 5) + 1
  local month = month_index < 10 and month_index + 3 or month_index - 9
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, day,
    math.floor(rest / 3600), math.floor(rest / 60) % 60, rest % 60, (milliseconds % 1000) * 1000)
end
