-- wrk: POSTs the bodies of the file named by BODIES, one a line, in turn

local bodies = {}

for line in io.lines(os.getenv("BODIES")) do
    bodies[#bodies + 1] = line
end

local i = 0

function init()
    wrk.headers["Content-Type"] = "application/json"

    for k, body in ipairs(bodies) do
        bodies[k] = wrk.format("POST", nil, nil, body)
    end
end


function request()
    i = i % #bodies + 1
    return bodies[i]
end
