#!/bin/sh
# Gets a Spark with Delta that speaks s3a, once per machine, into the user's cache folder, where `make soak` looks: pyspark
# from PyPI in a venv of its own, and the JARs that it lacks from Maven Central, by mvn with the user's own settings.
# Where it can't be had this says so and exits 0: tests that need Spark are then skipped by name.
set -eu
pyspark=3.5.8
delta=3.2.1      # docs.delta.io/latest/releases.html: 3.2 and 3.3 are for Spark 3.5
hadoop=3.3.4     # the Hadoop in pyspark 3.5
aws_sdk=1.12.262 # the SDK that this Hadoop was built with

cache=${XDG_CACHE_HOME:-$HOME/.cache}/tierlake
spark=$cache/spark
jars="io.delta:delta-spark_2.12:$delta io.delta:delta-storage:$delta org.apache.hadoop:hadoop-aws:$hadoop com.amazonaws:aws-java-sdk-bundle:$aws_sdk"
wanted="pyspark==$pyspark $jars"

give_up() {
    echo "Spark can't be had here: $1. Its tests will be skipped by name." >&2
    exit 0
}

java=${JAVA_HOME:+$JAVA_HOME/bin/}java
version=$("$java" -version 2>&1) || give_up "there is no java (Spark 3.5 runs on Java 8, 11 and 17; on Debian 12: apt-get install openjdk-17-jre-headless)"
case $(echo "$version" | sed -n 's/.* version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p' | head -n 1) in
8 | 11 | 17) ;;
*) give_up "Spark 3.5 runs on Java 8, 11 and 17, and $java is $(echo "$version" | head -n 1)" ;;
esac

if [ "$(cat "$spark/.versions" 2>/dev/null)" = "$wanted" ]; then
    echo "Spark is in $spark"
    exit 0
fi

command -v mvn >/dev/null || give_up "there is no mvn to get its JARs with (on Debian and Ubuntu: apt-get install maven)"
python=$("$(dirname "$0")/python.sh") || give_up "there is no Python for pyspark"
mkdir -p "$cache" || give_up "cannot write to $cache"
tmp=$(mktemp -d "$cache/.spark.XXXXXX") || give_up "cannot write to $cache"
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

echo "getting pyspark $pyspark and Delta $delta (about 700 MB on disk, once per machine)"
"$python" -m venv "$tmp/venv" || give_up "no venv could be made"
"$tmp/venv/bin/pip" install --quiet "pyspark==$pyspark" || give_up "pyspark $pyspark could not be installed"
has=$(find "$tmp/venv" -name 'hadoop-client-api-*.jar' | sed 's/.*hadoop-client-api-\(.*\)\.jar/\1/')
[ "$has" = "$hadoop" ] || give_up "pyspark $pyspark has Hadoop $has, and hadoop-aws $hadoop does not fit it"
for jar in $jars; do
    # From the temporary folder: no pom.xml of the user's is in the way.
    (cd "$tmp" && mvn --quiet --batch-mode -Dstyle.color=never dependency:copy -Dartifact="$jar" -DoutputDirectory="$tmp/jars") ||
        give_up "mvn dependency:copy of $jar failed"
done
# The stamp goes last, and the folder comes in one step: a half-made one is never taken for Spark.
echo "$wanted" >"$tmp/.versions"
rm -rf "$spark"
mv "$tmp" "$spark"
echo "Spark is in $spark"
