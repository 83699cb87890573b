# shellcheck shell=bash
# What the scripts share. To be sourced.

# Messages go to standard error, so that standard output can be evaluated or piped.
say() { printf '%s\n' "$*" >&2; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Where Debian keeps nginx and rabbitmqctl; not on every user's path.
PATH=$PATH:/usr/sbin:/sbin

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root.
as_root() {
    if ((EUID == 0)); then
        "$@"
    elif have sudo && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then
        sudo "$@"
    else
        say "${0##*/}: \"$*\" needs root or sudo"
        return 1
    fi
}

# Runs a command as another user: as_user NAME COMMAND...
as_user() {
    local user=$1
    shift
    # From a directory that every user may be in.
    if ((EUID == 0)); then
        (cd / && runuser -u "$user" -- "$@")
    else
        (cd / && as_root -u "$user" -- "$@")
    fi
}

is_debian() { have apt-get && have dpkg; }
has_systemd() { [[ -d /run/systemd/system ]]; }

# Installs Debian packages; the caller has said so. What apt prints is shown when it fails.
apt_install() {
    local log
    log=$(mktemp)
    # A PostgreSQL cluster takes its encoding from the locale at its installation; this one is UTF-8
    # and is on every Debian. Not to be asked questions is for machines without anybody in front.
    if as_root env LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive sh -euc '
        apt-get update
        apt-get install -y --no-install-recommends "$@"' apt "$@" >"$log" 2>&1 </dev/null; then
        rm -f "$log"
    else
        cat "$log" >&2
        rm -f "$log"
        return 1
    fi
}

# Makes sure of a command: need COMMAND PACKAGE...
need() {
    local command=$1
    shift
    have "$command" && return
    is_debian || die "$command is missing: install it"
    say "$command: missing; installing $* with apt-get"
    apt_install "$@" || die "$command is missing, and $* could not be installed"
    have "$command" || die "$command is missing, although $* is installed"
}

# Rust comes from rustup: Debian's is older than what Cargo.toml asks for.
need_cargo() {
    [[ -d $HOME/.cargo/bin ]] && PATH=$HOME/.cargo/bin:$PATH
    have cargo || die "cargo is missing. Install Rust with rustup (https://rustup.rs), for example:
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    need cc gcc libc6-dev
}

# Makes sure of the browser that the console is tried in, and of what drives it.
need_browser() {
    need chromium chromium
    need chromedriver chromium-driver
}

# Builds taskd as users do, unless TASKD_BIN names one that is built already; sets TASKD_BIN.
need_release_binary() {
    if [[ -z ${TASKD_BIN:-} ]]; then
        cargo build --release --locked
        TASKD_BIN=${CARGO_TARGET_DIR:-target}/release/taskd
    fi
    [[ -x $TASKD_BIN ]] || die "TASKD_BIN: $TASKD_BIN is no program"
    TASKD_BIN=$(realpath "$TASKD_BIN")
    export TASKD_BIN
}

# Waits until a command succeeds: wait_until SECONDS COMMAND...
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# Whether something accepts connections there.
listens() { timeout 3 bash -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null; }

# Prints the comment at the head of the script and ends, where that is asked for: help_for "$@"
help_for() {
    case ${1:-} in
        -h | --help)
            sed -n '2,/^[^#]/ { /^#/ s/^# \{0,1\}//p }' "$0"
            exit
            ;;
    esac
}

# For a script that takes no arguments: no_arguments "$@"
no_arguments() {
    help_for "$@"
    if (($#)); then die "unknown argument $1: see $0 --help"; fi
}

# The status code of GET PATH, or nothing: http_status HOST PORT PATH
http_status() {
    # shellcheck disable=SC2016 # Expanded by the inner bash, which alone gets the time limit.
    timeout 3 bash -c '
        exec 3<>"/dev/tcp/$1/$2"
        printf "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n" "$3" "$1" >&3
        read -r _ status _ <&3
        printf "%s" "$status"' http "$@" 2>/dev/null
}

# A URL as it may be printed.
without_password() { sed -E 's#^([a-z]+://[^:@/]*):.*@#\1:***@#; s#(password=)[^&]*#\1***#' <<<"$1"; }

# Makes a database of that name beside the one of $TEST_DATABASE_URL, and sets DATABASE_URL to it.
make_database() {
    local server=${TEST_DATABASE_URL%%\?*} query=
    if [[ $TEST_DATABASE_URL == *\?* ]]; then query="?${TEST_DATABASE_URL#*\?}"; fi
    psql "$TEST_DATABASE_URL" -Xqw -v ON_ERROR_STOP=1 -c "CREATE DATABASE $1 ENCODING 'UTF8' TEMPLATE template0"
    export DATABASE_URL="${server%/*}/$1$query"
}
drop_database() {
    psql "$TEST_DATABASE_URL" -Xqw -c "DROP DATABASE IF EXISTS $1 WITH (FORCE)" 2>/dev/null >&2 ||
        say "warning: the database $1 could not be dropped"
}
# What a query answers in $DATABASE_URL, bare.
sql() { psql "$DATABASE_URL" -XAtqw -v ON_ERROR_STOP=1 -c "$1"; }
