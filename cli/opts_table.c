#include "cli/opts_table.h"

#include <string.h>

#define ON(command) (UINT32_C(1) << (command))

static const struct command_spec commands[CMD_COUNT] = {
    [CMD_INIT] =
        {
            .name = "init",
            .summary = "create a repository",
            .help = "Makes the repository named by --repo. A repository that is already there is "
                    "left as it is; a directory that holds anything else is refused.",
        },
    [CMD_SNAPSHOT] =
        {
            .name = "snapshot",
            .summary = "take a full snapshot of the source",
            .help = "Reads every collection of the source and captures the oplog of the time that "
                    "takes, which makes the snapshot exact. Data that the repository holds "
                    "already is not stored again.\n"
                    "Of a server without a replica set a snapshot is possible, restoring to any "
                    "other moment is not.",
        },
    [CMD_TAIL] =
        {
            .name = "tail",
            .summary = "capture the oplog, so that any moment can be restored",
            .help = "Runs until it is told to stop (SIGTERM or SIGINT), seals what it has, and "
                    "ends with 0. It survives elections, restarts of the server and network "
                    "loss by itself.",
        },
    [CMD_RESTORE] =
        {
            .name = "restore",
            .summary = "bring a server to the state of one moment",
            .help = "Exactly one of --to, --before, --snapshot and --latest names the moment; "
                    "with --backup-path it may be left out, and is the latest one.\n"
                    "TIME is \"latest\", RFC 3339 with a zone (2026-11-23T14:03:07Z: with every "
                    "operation of that second), or an oplog timestamp SECS,INC (with that "
                    "operation).\n"
                    "Everything is checked before the target is touched. A target that holds data "
                    "is refused unless --drop or --rename says otherwise. A restore that was "
                    "interrupted can be run again.",
        },
    [CMD_LIST] =
        {
            .name = "list",
            .summary = "list snapshots and what can be restored",
            .help = "",
        },
    [CMD_SHOW] =
        {
            .name = "show",
            .synopsis = "ID | --at TIME --ns DB.COLL --id ID",
            .summary = "show what one snapshot holds, or one document at one moment",
            .help = "ID is a snapshot's id, the beginning of one, or \"latest\".\n"
                    "With --at the document of --ns, one collection, whose _id is --id is printed "
                    "as it was at that moment; where it did not exist then, the command ends with "
                    "6. Of a time-series collection, --ns db.system.buckets.name shows one bucket.",
            .max_args = 1,
        },
    [CMD_LOG] =
        {
            .name = "log",
            .summary = "search the captured operations",
            .help =
                "Prints them in the order in which they took effect; what transactions did "
                "stands where they were committed. The timestamp of an operation can be given "
                "to restore as --to (with it) or --before (without it).\n"
                "TIME is RFC 3339 with a zone (a whole second), an oplog timestamp SECS,INC, or "
                "\"latest\". What is not captured in between is reported as a gap. Values are "
                "shortened; with --json everything is printed, one object a line.",
        },
    [CMD_DIFF] =
        {
            .name = "diff",
            .synopsis = "FROM TO",
            .summary = "show which documents differ between two moments",
            .help = "FROM and TO are moments as restore --to takes them, or ids of snapshots. "
                    "Collections are followed when they are renamed. Documents of one that is "
                    "there at one of the moments only are counted, and listed if --ns names it "
                    "without *.\n"
                    "Documents are compared byte by byte; their order in a capped collection is "
                    "not. Ends with 0 whether there are differences or not.",
            .min_args = 2,
            .max_args = 2,
        },
    [CMD_EXPORT] =
        {
            .name = "export",
            .summary = "write the state of one moment as a mongodump directory",
            .help = "The directory can be loaded with any mongorestore. It is made, or must be "
                    "empty; it appears under its name once it is complete.",
        },
    [CMD_IMPORT] =
        {
            .name = "import",
            .synopsis = "DIR",
            .summary = "make a snapshot of a mongodump directory",
            .help = "The snapshot restores by itself. It has no oplog, so no other moment can be "
                    "reached from it, and no \"latest\" means it while there is a snapshot of the "
                    "repository's own server: name it with --snapshot. A dump with an oplog is "
                    "refused.",
            .min_args = 1,
            .max_args = 1,
        },
    [CMD_VERIFY] =
        {
            .name = "verify",
            .summary = "check that what is stored can be restored",
            .help = "Ends with 5 when anything is damaged or missing.",
        },
    [CMD_STATUS] =
        {
            .name = "status",
            .summary = "say whether the backup is healthy",
            .help = "Reads the repository alone. Ends with 8 when a limit is exceeded.",
        },
    [CMD_CHECK] =
        {
            .name = "check",
            .summary = "check the source and the repository before relying on them",
            .help = "Looks at replica set, version, privileges, the oplog's length, free space and "
                    "clocks. Changes nothing. Ends with 8 when there is a problem.",
        },
    [CMD_INDEX_REBUILD] =
        {
            .name = "index rebuild",
            .summary = "make the chunk index anew from the packs",
            .help = "Never needed: a missing or damaged index is made anew when it is next used.",
        },
    [CMD_CONFIG_SHOW] =
        {
            .name = "config show",
            .summary = "show every setting with its value and where that comes from",
            .help = "",
        },
    [CMD_VERSION] = {.name = "version", .summary = "print the version", .help = ""},
    [CMD_HELP] =
        {
            .name = "help",
            .synopsis = "[COMMAND]",
            .summary = "print help",
            .help = "",
            .max_args = 2,
        },
};

enum {
    READS_SOURCE = ON(CMD_SNAPSHOT) | ON(CMD_TAIL),
    TAKES_STATE = ON(CMD_RESTORE) | ON(CMD_EXPORT),
    REPLAYS = TAKES_STATE | ON(CMD_SHOW) | ON(CMD_DIFF) | ON(CMD_VERIFY),
};

static const struct opt_spec options[OPT_COUNT] = {
    [OPT_CONFIG] = {.name = "config",
                    .kind = OPT_VALUE,
                    .value = "FILE",
                    .commands = OPT_GLOBAL,
                    .help = "Read settings from this YAML file."},
    [OPT_REPO] = {.name = "repo",
                  .kind = OPT_VALUE,
                  .value = "PATH",
                  .commands = OPT_GLOBAL,
                  .help = "The repository, a directory (or MONGODB_BACKUP_PATH)."},
    [OPT_URI] = {.name = "uri",
                 .kind = OPT_VALUE,
                 .is_uri = true,
                 .value = "URI",
                 .commands = OPT_GLOBAL,
                 .help = "The source (or MONGODB_URI, which keeps its password out of the shell's "
                         "history)."},
    [OPT_JSON] = {.name = "json",
                  .kind = OPT_FLAG,
                  .commands = OPT_GLOBAL,
                  .help = "Print one JSON object; docs/json.md has the fields."},
    [OPT_QUIET] = {.name = "quiet",
                   .letter = 'q',
                   .kind = OPT_FLAG,
                   .commands = OPT_GLOBAL,
                   .help = "On stderr nothing but errors."},
    [OPT_VERBOSE] = {.name = "verbose",
                     .letter = 'v',
                     .kind = OPT_FLAG,
                     .commands = OPT_GLOBAL,
                     .help = "Say on stderr what is being done; given twice, in detail."},
    [OPT_NO_PROGRESS] = {.name = "no-progress",
                         .kind = OPT_FLAG,
                         .commands = OPT_GLOBAL,
                         .help = "No progress line on a terminal."},
    [OPT_HELP] = {.name = "help",
                  .letter = 'h',
                  .kind = OPT_FLAG,
                  .commands = OPT_GLOBAL,
                  .help = "Print help."},
    [OPT_VERSION] = {.name = "version",
                     .kind = OPT_FLAG,
                     .commands = OPT_GLOBAL,
                     .help = "Print the version."},
    [OPT_MODE] = {.name = "mode",
                  .kind = OPT_VALUE,
                  .value = "auto|scan",
                  .commands = ON(CMD_SNAPSHOT),
                  .help = "How to take it; scan reads the database. Default auto, which is scan."},
    [OPT_LABEL] = {.name = "label",
                   .kind = OPT_VALUE,
                   .value = "TEXT",
                   .commands = ON(CMD_SNAPSHOT) | ON(CMD_IMPORT),
                   .help = "A note that list and show print."},
    [OPT_CODEC] = {.name = "codec",
                   .kind = OPT_VALUE,
                   .value = "zstd|lz4|zlib|none",
                   .commands = ON(CMD_SNAPSHOT) | ON(CMD_IMPORT),
                   .help = "Compression of new data. Default zstd."},
    [OPT_LEVEL] = {.name = "level",
                   .kind = OPT_VALUE,
                   .value = "N",
                   .commands = ON(CMD_SNAPSHOT) | ON(CMD_IMPORT),
                   .help = "The codec's level; 0, the default, leaves the choice to pitr."},
    [OPT_ONCE] = {.name = "once",
                  .kind = OPT_FLAG,
                  .commands = ON(CMD_TAIL),
                  .help = "Capture all that is majority-committed now, seal it, and end."},
    [OPT_INTERVAL] = {.name = "interval",
                      .kind = OPT_VALUE,
                      .value = "SECONDS",
                      .commands = READS_SOURCE,
                      .help = "Seal what was captured this often, 1 to 900. Default 60."},
    [OPT_TO] = {.name = "to",
                .kind = OPT_VALUE,
                .value = "TIME|latest",
                .commands = TAKES_STATE | ON(CMD_LOG),
                .help = "This moment; latest is the newest that is captured."},
    [OPT_BEFORE] = {.name = "before",
                    .kind = OPT_VALUE,
                    .value = "SECS,INC",
                    .commands = TAKES_STATE,
                    .help = "The state just before this operation."},
    [OPT_SNAPSHOT] = {.name = "snapshot",
                      .kind = OPT_VALUE,
                      .value = "ID",
                      .commands = TAKES_STATE,
                      .help = "The state of this snapshot."},
    [OPT_LATEST] = {.name = "latest",
                    .kind = OPT_FLAG,
                    .commands = TAKES_STATE,
                    .help = "The state of the newest good snapshot."},
    [OPT_BACKUP_PATH] = {.name = "backup-path",
                         .kind = OPT_VALUE,
                         .value = "PATH",
                         .commands = TAKES_STATE,
                         .help = "Restore from this repository, or from this directory made by "
                                 "mongodump, instead of --repo."},
    [OPT_TARGET] = {.name = "target",
                    .kind = OPT_VALUE,
                    .is_uri = true,
                    .value = "URI",
                    .commands = ON(CMD_RESTORE),
                    .help = "The server to restore to. Default: the source, --uri."},
    [OPT_NS] = {.name = "ns",
                .kind = OPT_MANY,
                .value = "PATTERN",
                .commands = TAKES_STATE | ON(CMD_LOG) | ON(CMD_DIFF) | ON(CMD_SHOW),
                .help = "Only these namespaces, as db.coll with *. Can be repeated."},
    [OPT_EXCLUDE_NS] = {.name = "exclude-ns",
                        .kind = OPT_MANY,
                        .value = "PATTERN",
                        .commands = TAKES_STATE | ON(CMD_LOG) | ON(CMD_DIFF),
                        .help = "Not these. Can be repeated."},
    [OPT_RENAME] = {.name = "rename",
                    .kind = OPT_MANY,
                    .value = "FROM=TO",
                    .commands = TAKES_STATE,
                    .help = "Under another name; both sides have the same number of *. Can be "
                            "repeated, the first that matches counts."},
    [OPT_DROP] = {.name = "drop",
                  .kind = OPT_FLAG,
                  .commands = ON(CMD_RESTORE),
                  .help = "Replace what the target holds: what did not exist at that moment is "
                          "gone afterwards. Asks on a terminal."},
    [OPT_PLAN] = {.name = "plan",
                  .kind = OPT_FLAG,
                  .commands = ON(CMD_RESTORE),
                  .help = "Check everything and say what would be done, without doing it."},
    [OPT_YES] = {.name = "yes",
                 .kind = OPT_FLAG,
                 .commands = ON(CMD_RESTORE),
                 .help = "Ask nothing."},
    [OPT_NO_VERIFY] = {.name = "no-verify",
                       .kind = OPT_FLAG,
                       .commands = ON(CMD_RESTORE),
                       .help = "Do not read the restored data back."},
    [OPT_NO_PRE_SNAPSHOT] = {.name = "no-pre-snapshot",
                             .kind = OPT_FLAG,
                             .commands = ON(CMD_RESTORE),
                             .help = "Take no snapshot before data of the repository's own cluster "
                                     "is replaced."},
    [OPT_MEMORY] = {.name = "memory",
                    .kind = OPT_VALUE,
                    .value = "MIB",
                    .commands = REPLAYS,
                    .help = "How much memory the replay may use before it turns to a temporary "
                            "file, in TMPDIR or /var/tmp. Default 256."},
    [OPT_AT] = {.name = "at",
                .kind = OPT_VALUE,
                .value = "TIME",
                .commands = ON(CMD_SHOW),
                .help = "The moment, as restore --to takes it, or a snapshot's id."},
    [OPT_ID] = {.name = "id",
                .kind = OPT_VALUE,
                .value = "ID",
                .commands = ON(CMD_SHOW) | ON(CMD_LOG),
                .help = "The document's _id: Extended JSON, as {\"$oid\": \"...\"} or 42 or "
                        "\"text\"; 24 hexadecimal digits alone are an ObjectId, and any other "
                        "word a string."},
    [OPT_FROM] = {.name = "from",
                  .kind = OPT_VALUE,
                  .value = "TIME",
                  .commands = ON(CMD_LOG),
                  .help = "Operations from this moment on. Default: the oldest captured."},
    [OPT_KIND] = {.name = "kind",
                  .kind = OPT_MANY,
                  .value = "insert|update|delete|command|noop",
                  .commands = ON(CMD_LOG),
                  .help = "Only operations of this kind. Can be repeated. Default: all but noop."},
    [OPT_LIMIT] = {.name = "limit",
                   .kind = OPT_VALUE,
                   .value = "N",
                   .commands = ON(CMD_LOG) | ON(CMD_DIFF),
                   .help = "End after this many."},
    [OPT_OUT] = {.name = "out",
                 .kind = OPT_VALUE,
                 .value = "DIR",
                 .commands = ON(CMD_EXPORT),
                 .help = "The directory to write."},
    [OPT_GZIP] = {.name = "gzip",
                  .kind = OPT_FLAG,
                  .commands = ON(CMD_EXPORT),
                  .help = "Compress every file, as mongodump --gzip does."},
    [OPT_QUICK] = {.name = "quick",
                   .kind = OPT_FLAG,
                   .commands = ON(CMD_VERIFY),
                   .help = "Everything that is named exists, is complete and joins. The default."},
    [OPT_DATA] = {.name = "data",
                  .kind = OPT_FLAG,
                  .commands = ON(CMD_VERIFY),
                  .help = "Also read and decode every stored byte."},
    [OPT_REPLAY] = {.name = "replay",
                    .kind = OPT_FLAG,
                    .commands = ON(CMD_VERIFY),
                    .help = "Also replay the oplog from each scanned snapshot to the next and "
                            "compare every collection: the proof that capture and replay are "
                            "right."},
    [OPT_MARKDOWN] = {.name = "markdown",
                      .kind = OPT_FLAG,
                      .commands = ON(CMD_HELP),
                      .help = "The help of all commands, as Markdown."},
};

static const char *const later_commands[] = {
    "run", "drill", "report", "prune", "push", "pull", "key", "schedule", "completions", "man",
};

static const char *const later_options[] = {
    "encrypt",    "s3",      "push",    "interactive", "html",        "what-if",      "keep-days",
    "keep-daily", "dry-run", "explain", "trace",       "keep-weekly", "keep-monthly",
};

const struct opt_spec *
opt_table(enum opt_id id)
{
    return &options[id];
}

const struct command_spec *
command_table(enum command_id id)
{
    return &commands[id];
}

bool
opt_applies(enum opt_id id, enum command_id command)
{
    return (options[id].commands & ON(command)) != 0;
}

static bool
is_among(const char *word, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(words[i], word) == 0)
            return true;
    return false;
}

bool
is_later_command(const char *word)
{
    return is_among(word, later_commands, sizeof later_commands / sizeof later_commands[0]);
}

bool
is_later_option(const char *name)
{
    return is_among(name, later_options, sizeof later_options / sizeof later_options[0]);
}

bool
command_find(enum command_id *out, const char *name)
{
    size_t len = strlen(name);

    for (int i = 0; i < CMD_COUNT; i++) {
        const char *known = commands[i].name;

        if (strncmp(known, name, len) == 0 && (known[len] == '\0' || known[len] == ' ')) {
            *out = (enum command_id)i;
            return len > 0;
        }
    }
    return false;
}
