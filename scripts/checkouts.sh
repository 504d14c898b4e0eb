# What the scripts that compare the working tree with a commit share. To be sourced, at the
# repository's root.

# The commit of a name, or an end with words.
commit_of() {
    git rev-parse --verify --quiet "$1^{commit}" || {
        echo "There is no commit $1." >&2
        exit 2
    }
}

# Mesa complains on every device without this folder; containers and CI often have none.
runtime_dir() {
    if [ -z "${XDG_RUNTIME_DIR:-}" ]; then
        XDG_RUNTIME_DIR="$(mktemp -d)"
        export XDG_RUNTIME_DIR
        trap 'rm -rf "$XDG_RUNTIME_DIR"' EXIT
    fi
}

# The files of the working tree that git does not ignore.
files() {
    git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
        if [ -e "$file" ]; then printf '%s\0' "$file"; fi
    done
}

# Makes `old` of a commit and `new` of the working tree, in a folder.
check_out() {
    rm -rf "$1/old" "$1/new"
    mkdir -p "$1/old" "$1/new"
    git archive "$2" | tar -xC "$1/old"
    files | tar --null -T - -cf - | tar -xC "$1/new"
}

# Whether a checkout places parameters as now or as up to 0.30, when offsets had a method of their
# own: prints its second or its third argument.
by_api() {
    if grep -rq 'pub fn offsets(mut self' "$1/src"; then echo "$3"; else echo "$2"; fi
}
