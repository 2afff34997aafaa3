
-- Tools, "Drops by reason": how many drops each cause has, in the packets that the display filter
-- shows.
if not gui_enabled() then
    return
end

-- Names come from the network's devices and from files.
local function printable(text)
    return (text:gsub("%c", "?"))
end

-- Lines of a text, as wide as a window is at first.
local function wrapped(text, indent)
    local lines, line = {}, indent
    for word in text:gmatch("%S+") do
        if #line + #word > 100 and line ~= indent then
            lines[#lines + 1] = line
            line = indent
        end
        line = line .. " " .. word
    end
    lines[#lines + 1] = line
    return table.concat(lines, "\n")
end

local function table_of(counts, total)
    local rows = {}
    for _, row in pairs(counts) do
        rows[#rows + 1] = row
    end
    table.sort(rows, function(one, other)
        if one.count ~= other.count then
            return one.count > other.count
        end
        return one.drop.name < other.drop.name
    end)
    local lines = { string.format("%d drops\n", total), "   drops   share  verdict  cause" }
    for _, row in ipairs(rows) do
        local share = 100 * row.count / total
        local verdict, cause = row.drop.verdict or "", printable(row.drop.name)
        lines[#lines + 1] = string.format("%8d  %5.1f%%  %-7s  %s", row.count, share, verdict, cause)
        if row.drop.meaning then
            lines[#lines + 1] = wrapped(printable(row.drop.meaning), (" "):rep(26))
        end
    end
    return table.concat(lines, "\n") .. "\n"
end

-- More causes than this are a hostile file's.
local MAX_CAUSES = 10000

local function drops_by_reason()
    local window = TextWindow.new("Drops by reason")
    local counts, cause_count, total = {}, 0, 0
    local tap = Listener.new("frame", "drop")
    counting = counting + 1
    window:set_atclose(function()
        counting = counting - 1
        tap:remove()
    end)
    function tap.packet()
        if not current then
            return
        end
        total = total + 1
        local row = counts[current.name]
        if row then
            row.count = row.count + 1
        elseif cause_count < MAX_CAUSES then
            counts[current.name] = { count = 1, drop = current }
            cause_count = cause_count + 1
        end
    end
    function tap.draw()
        window:set(table_of(counts, total))
    end
    function tap.reset()
        counts, cause_count, total = {}, 0, 0
        window:set("")
    end
    retap_packets()
end

register_menu("Drops by reason", drops_by_reason, MENU_TOOLS_UNSORTED)
