-- Loaded twice, from a personal and a global folder: the first one does.
local is_new, proto = pcall(Proto.new, "drop", "Packet that the kernel dropped")
if not is_new then
    return
end

local comments_of_frame = Field.new("frame.comment")
local name_of_interface = Field.new("frame.interface_name")
local description_of_interface = Field.new("frame.interface_description")

-- The digits behind 0x, at most `most` of them; nil for any other text.
local function hexadecimal(text, most)
    local digits = text:match("^0x(%x+)$")
    return digits and #digits <= most and digits or nil
end

-- What each kind of value is in Wireshark, and how it is read from the text of a comment: nil
-- where dwdump would not have written that.
local KINDS = {
    text = {
        field = ProtoField.string,
        read = function(text)
            return text ~= "" and text or nil
        end,
    },
    -- Several values of the same field.
    frames = {
        field = ProtoField.string,
        read = function(text)
            return text ~= "" and text or nil
        end,
    },
    bytes = {
        field = ProtoField.bytes,
        read = function(text)
            return #text > 0 and #text % 2 == 0 and text:match("^%x+$")
        end,
    },
    address = {
        field = ProtoField.uint64,
        base = base.HEX,
        read = function(text)
            local digits = hexadecimal(text, 16)
            return digits and UInt64.fromhex(digits)
        end,
    },
    ethertype = {
        field = ProtoField.uint16,
        base = base.HEX,
        read = function(text)
            local digits = hexadecimal(text, 4)
            return digits and tonumber(digits, 16)
        end,
    },
    number = {
        field = ProtoField.uint32,
        base = base.DEC,
        read = function(text)
            local number = #text <= 10 and text:match("^%d+$") and tonumber(text)
            return number and number < 2 ^ 32 and number or nil
        end,
    },
    id = {
        field = ProtoField.uint64,
        base = base.DEC,
        read = function(text)
            return #text <= 20 and text:match("^%d+$") and UInt64(text)
        end,
    },
    mark = {
        field = ProtoField.uint32,
        base = base.HEX,
        read = function(text)
            local digits = hexadecimal(text, 8)
            return digits and tonumber(digits, 16)
        end,
    },
    -- The inode; behind it may stand that this is the initial one.
    netns = {
        field = ProtoField.uint32,
        base = base.DEC,
        read = function(text)
            local digits = text:match("^(%d+)$") or text:match("^(%d+) %(initial%)$")
            local number = digits and #digits <= 10 and tonumber(digits)
            return number and number < 2 ^ 32 and number or nil
        end,
    },
    direction = {
        field = ProtoField.string,
        read = function(text)
            return (text == "inbound" or text == "outbound") and text or nil
        end,
    },
    origin = {
        field = ProtoField.string,
        read = function(text)
            return (text == "software" or text == "hardware") and text or nil
        end,
    },
}

local fact_of_key, fields = {}, {}
for _, fact in ipairs(FACTS) do
    local kind = KINDS[fact.kind]
    local filter_name = "drop." .. fact.key
    if kind.base then
        fact.field = kind.field(filter_name, fact.title, kind.base, nil, nil, fact.what)
    elseif fact.kind == "bytes" then
        fact.field = kind.field(filter_name, fact.title, base.NONE, fact.what)
    else
        fact.field = kind.field(filter_name, fact.title, base.UNICODE, fact.what)
    end
    fact.read = kind.read
    fact_of_key[fact.key] = fact
    fields[#fields + 1] = fact.field
end
proto.fields = fields
local name_field = fact_of_key.ifname.field

-- What an interface says of all its packets: its description is "ifindex 5, software".
local function read_interface(name, description, found)
    local rest = description:match("^(.*), link type assumed$") or description
    local before, inode = rest:match("^(.*), netns (%d+)$")
    rest = before or rest
    local place, origin = rest:match("^(.-), (.*)$")
    place = place or rest
    local index = place:match("^ifindex (%d+)$")
    local is_place = index or place == "locally generated" or place == "input unknown"
    if origin and not KINDS.origin.read(origin) or not is_place then
        return
    end
    found.origin = origin
    found.netns = inode and KINDS.netns.read(inode) or nil
    if index then
        found.ifindex = KINDS.number.read(index)
        found.ifname = name ~= "if" .. index and KINDS.text.read(name) or nil
    end
end

local function read_comment(comment, found)
    local key, text = comment:match("^([%w_]+): (.*)$")
    local fact = fact_of_key[key]
    if not fact or found[key] ~= nil or not (fact.is_commented or key == "meaning") then
        return
    end
    if not fact.origin or not found.origin or fact.origin == found.origin then
        found[key] = fact.read(text)
    end
end

-- Where neither an interface nor a comment says who dropped the packet, the other facts do.
local function origin_of(found)
    if found.origin then
        return found.origin
    end
    for _, origin in ipairs({ "software", "hardware" }) do
        for _, fact in ipairs(FACTS) do
            if fact.origin == origin and fact.is_commented and found[fact.key] ~= nil then
                return origin
            end
        end
    end
    return nil
end

-- Verdict and meaning, by the reason, or by the function where the reason says nothing.
local function explain(found)
    local reason = found.reason
    local by_reason
    if reason then
        reason = reason:upper():gsub("^SKB_DROP_REASON_", "")
        by_reason = REASONS[reason]
    end
    local by_function = found["function"] and FUNCTIONS[found["function"]:match("^[^.+ ]*")]
    if by_reason and reason ~= NOT_SPECIFIED then
        return by_reason[1], by_reason[2]
    end
    local entry = by_function or by_reason
    -- A reason that is not in the catalogue may be anything.
    local is_known = by_reason or not found.reason
    return entry and is_known and entry[1] or nil, entry and entry[2] or nil
end

-- The facts of a drop in the order of FACTS, and the line that says them folded; false for a
-- packet that is none.
local function read_drop(name, description, comments)
    local found = {}
    if description then
        read_interface(name or "", description, found)
    end
    for _, comment in ipairs(comments) do
        read_comment(comment, found)
    end
    found.origin = origin_of(found)
    if not found.origin then
        return false
    end
    for _, fact in ipairs(FACTS) do
        if fact.origin and fact.origin ~= found.origin then
            found[fact.key] = nil
        end
    end
    if not found.ifindex then
        found.ifname = nil
    end
    local interface = found.ifname or found.ifindex and "if" .. found.ifindex or nil
    if found.ifindex == 0 then
        found.ifindex = nil
    end
    if found.location then
        found["function"] = found.location:match("^[^+ ]+")
        found.module = found.location:match("%[([^%[]*)%]$")
    end
    found.cause = found.reason or found.trap or found["function"]
    if not found.cause then
        found.cause = found.pc and "0x" .. found.pc:tohex() or found.origin
    end
    local verdict, meaning = explain(found)
    found.verdict = verdict
    -- A later dwdump may have written what this one does not know.
    found.meaning = meaning or found.meaning

    local drop = { cause = found.cause, verdict = found.verdict, meaning = found.meaning }
    -- For the window: what verdict and meaning belong to.
    drop.name = found.cause
    if found.reason == NOT_SPECIFIED and found["function"] then
        drop.name = found.reason .. ", " .. found["function"]
    end
    for _, fact in ipairs(FACTS) do
        local value = found[fact.key]
        if value ~= nil and fact.kind == "frames" then
            for frame in value:gmatch("[^;]+") do
                drop[#drop + 1] = { field = fact.field, title = fact.title, value = frame }
            end
        elseif value ~= nil then
            drop[#drop + 1] = {
                field = fact.field,
                title = fact.title,
                value = value,
                bytes = fact.kind == "bytes" and ByteArray.new(value),
                is_derived = fact.is_derived,
            }
        end
    end
    local words = { found.cause }
    if found["function"] and found["function"] ~= found.cause then
        words[#words + 1] = found["function"]
    end
    if found.module then
        words[#words] = words[#words] .. " [" .. found.module .. "]"
    end
    words[#words + 1] = found.trap_group
    words[#words + 1] = interface
    local who = found.origin == "hardware" and "Hardware drop: " or "Kernel drop: "
    drop.line = who .. table.concat(words, ", ")
    return drop
end

-- Drops that were read already, by interface and comments: packets mostly share them. A tree: each
-- text leads to the next table, and READ to the drop.
local READ = 0
local MAX_TEXTS = 20000
local known, text_count = {}, 0

local function next_texts(texts, text)
    local next_ones = {}
    texts[text] = next_ones
    text_count = text_count + 1
    return next_ones
end

local function follow(texts, comment, ...)
    if not comment then
        return texts
    end
    local text = comment()
    return follow(texts[text] or next_texts(texts, text), ...)
end

-- A packet that nobody else's resembles: dwdump writes fewer comments.
local MANY = 16

-- The name of the interface is looked up only where somebody wants it.
local function drop_of_comments(wants_name, ...)
    local name, description = wants_name and name_of_interface(), description_of_interface()
    local count = select("#", ...)
    if not description and count == 0 then
        return false
    end
    name, description = name and name() or false, description and description() or false
    local texts
    if count < MANY then
        if text_count > MAX_TEXTS then
            known, text_count = {}, 0
        end
        texts = known[description] or next_texts(known, description)
        texts = follow(texts[name] or next_texts(texts, name), ...)
        local drop = texts[READ]
        if drop ~= nil then
            return drop
        end
    end
    local comments = { ... }
    for index, comment in ipairs(comments) do
        comments[index] = comment()
    end
    local drop = read_drop(name, description, comments)
    if texts then
        texts[READ] = drop
    end
    return drop
end

-- Each packet leaves a dozen objects behind that Wireshark made for it and nobody looks at again: a
-- collector that looks at the young ones first takes a tenth off tshark's time.
collectgarbage("generational")

-- The methods, since looking one up costs more than the call.
local add, is_referenced, set_generated = TreeItem.add, TreeItem.referenced, TreeItem.set_generated

local function show_all(branch, drop)
    for i = 1, #drop do
        local said = drop[i]
        local item = add(branch, said.field, said.bytes and said.bytes:tvb(said.title):range() or said.value)
        if said.is_derived then
            set_generated(item)
        end
    end
end

local function add_wanted(branch, drop)
    for i = 1, #drop do
        local said = drop[i]
        local field = said.field
        if is_referenced(branch, field) then
            add(branch, field, said.bytes and said.bytes:tvb(said.title):range() or said.value)
        end
    end
end

-- The drop of the packet at hand, and how many windows count drops.
local current
local counting = 0

local this

function proto.dissector(_, _, tree)
    current = nil
    this = this or Dissector.get("drop")
    -- Most of the time goes into looking, so look only where somebody wants to see.
    if counting == 0 and not is_referenced(tree, this) then
        return
    end
    local is_visible = tree.visible
    local wants_name = is_visible or is_referenced(tree, name_field)
    local drop = drop_of_comments(wants_name, comments_of_frame())
    if not drop then
        return
    end
    current = drop
    if is_visible then
        show_all(add(tree, proto, drop.line), drop)
    else
        add_wanted(add(tree, proto), drop)
    end
end

register_postdissector(proto)
