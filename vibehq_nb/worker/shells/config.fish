# Read after your config.fish: marks around commands.
set --global __vibehq_mark ";aid="(random)(random)\a

# From version 4 on, fish marks by itself.
if string match --quiet --regex '^[0-3]\.' -- $version
    # What is kept out of the history is not told here either.
    function __vibehq_begin --on-event fish_preexec
        if set --query fish_private_mode; or string match --quiet ' *' -- $argv[1]
            printf '\e]133;C%s' $__vibehq_mark
            return
        end
        set --local line (string escape --style=url -- $argv[1] | string sub --length 12300)
        printf '\e]133;C;cmdline_url=%s%s' "$line" $__vibehq_mark
    end

    function __vibehq_end --on-event fish_postexec
        printf '\e]133;D;%s%s' $status $__vibehq_mark
    end

    function __vibehq_prompt --on-event fish_prompt --on-event fish_cancel --on-event fish_posterror
        printf '\e]133;A%s' $__vibehq_mark
    end
end

function __vibehq_folder --on-event fish_prompt
    printf '\e]7;file://%s%s\a' $hostname (string escape --style=url -- $PWD)
end
