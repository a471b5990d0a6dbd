# What follows is the same in every kit.

here=$0
case $here in
    */*) here=${here%/*} ;;
    *) here=. ;;
esac
me=run.sh
sdk=${QAIRT_SDK_ROOT:-${QNN_SDK_ROOT:-${SNPE_ROOT:-}}}
serial=${ANDROID_SERIAL:-}
device_dir=/data/local/tmp/onnxopt-kit
dry=no
device=yes

usage() {
    echo "usage: sh run.sh [--flow snpe|qairt] [--runtime cpu|gpu|dsp|htp] [--hexagon vNN] [--sdk DIR]"
    echo "                 [--serial ID] [--device-dir DIR] [--no-device] [--dry-run]"
    echo
    echo "Convert the model with Qualcomm's SDK, quantize it for dsp and htp, and run it on an Android device."
    echo "  --flow        snpe: snpe-onnx-to-dlc, snpe-dlc-quantize, snpe-net-run (now: $FLOW)"
    echo "                qairt: qairt-converter, qairt-quantizer, qnn-net-run"
    echo "  --runtime     what computes it (now: $RUNTIME)"
    echo "  --hexagon     whose libraries go onto the device for dsp and htp (now: $HEXAGON)"
    echo "  --sdk         the SDK's folder (else QAIRT_SDK_ROOT, QNN_SDK_ROOT or SNPE_ROOT)"
    echo "  --serial      which device, as adb devices lists them (else ANDROID_SERIAL)"
    echo "  --device-dir  where to put things there (now: $device_dir)"
    echo "  --no-device   stop when the DLC is there"
    echo "  --dry-run     print each command and run none"
}

fail() {
    printf '%s: %s\n' "$me" "$1" >&2
    exit "${2:-2}"
}

value() {
    [ "$1" -ge 2 ] || fail "$2 needs a value: see sh run.sh --help"
}

while [ $# -gt 0 ]; do
    case $1 in
        --flow) value $# "$1"; FLOW=$2; shift ;;
        --runtime) value $# "$1"; RUNTIME=$2; shift ;;
        --hexagon) value $# "$1"; HEXAGON=$2; shift ;;
        --sdk) value $# "$1"; sdk=$2; shift ;;
        --serial) value $# "$1"; serial=$2; shift ;;
        --device-dir) value $# "$1"; device_dir=$2; shift ;;
        --no-device) device=no ;;
        --dry-run) dry=yes ;;
        -h | --help) usage; exit 0 ;;
        *) fail "there is no option $1: see sh run.sh --help" ;;
    esac
    shift
done

case $FLOW in snpe | qairt) ;; *) fail "--flow is snpe or qairt, not $FLOW" ;; esac
case $RUNTIME in cpu | gpu | dsp | htp) ;; *) fail "--runtime is cpu, gpu, dsp or htp, not $RUNTIME" ;; esac
case $HEXAGON in v[0-9][0-9] | v[0-9][0-9][0-9]) ;; *) fail "--hexagon is a version as v65, not $HEXAGON" ;; esac
case $device_dir in
    /*/*) ;;
    *) fail "--device-dir is a whole path with two folders or more, not $device_dir" ;;
esac
case $device_dir in *[!A-Za-z0-9_./-]* | *..*) fail "--device-dir has letters, digits, _ . / - only, not $device_dir" ;; esac

# The words of a command as a shell takes them.
shown() {
    for word in "$@"; do
        case $word in
            '' | *[!A-Za-z0-9_./:=,+@%-]*)
                rest=$word
                quoted=
                while :; do
                    case $rest in
                        *\'*) quoted="$quoted${rest%%\'*}'\\''"; rest=${rest#*\'} ;;
                        *) break ;;
                    esac
                done
                printf " '%s'" "$quoted$rest"
                ;;
            *) printf ' %s' "$word" ;;
        esac
    done
    echo
}

# Print a command, and run it unless this is a dry run.
run() {
    printf '+'
    shown "$@"
    if [ $dry = no ]; then
        "$@" || fail "$1 failed (exit status $?)" 1
    fi
}

bridge() {
    if [ -n "$serial" ]; then
        run adb -s "$serial" "$@"
    else
        run adb "$@"
    fi
}

quantized=no
case $RUNTIME in dsp | htp) quantized=yes ;; esac

# Everything that is missing is said before anything is done.
if [ $dry = no ]; then
    if [ $FLOW = snpe ]; then
        tools=snpe-onnx-to-dlc
        [ $quantized = no ] || tools="$tools snpe-dlc-quantize"
        net_run=snpe-net-run
    else
        tools=qairt-converter
        [ $quantized = no ] || tools="$tools qairt-quantizer"
        net_run=qnn-net-run
    fi
    for tool in $tools; do
        command -v "$tool" >/dev/null 2>&1 || fail "$tool is not on PATH: \
get Qualcomm's AI Runtime (QAIRT) or SNPE SDK from Qualcomm, and source its bin/envsetup.sh"
    done
    if [ $device = yes ]; then
        command -v adb >/dev/null 2>&1 || fail "adb is not on PATH: \
install Android's platform tools, or give --no-device to stop when the DLC is there"
        [ -n "$sdk" ] || fail "where the SDK is is not known: give --sdk DIR, or source its bin/envsetup.sh"
        [ -f "$sdk/bin/aarch64-android/$net_run" ] || fail "$sdk is no SDK for this flow: \
it has no bin/aarch64-android/$net_run"
        [ $quantized = no ] || [ -d "$sdk/lib/hexagon-$HEXAGON/unsigned" ] || fail "$sdk has no \
lib/hexagon-$HEXAGON/unsigned: give the device's version with --hexagon, or an SDK that has it"
    fi
elif [ -z "$sdk" ]; then
    sdk=SDK
fi

CDPATH= cd -- "$here" || fail "cannot enter $here"
run mkdir -p build

# The lists of options below are words without blanks and quotes: onnxopt saw to the names in them.
# shellcheck disable=SC2086
if [ $FLOW = snpe ]; then
    run snpe-onnx-to-dlc --input_network model.onnx --output_path build/model.dlc $SNPE_CONVERT
    if [ $quantized = yes ]; then
        run snpe-dlc-quantize --input_dlc build/model.dlc --input_list input_list.txt \
            --output_dlc build/model_quantized.dlc $SNPE_QUANTIZE
    fi
else
    run qairt-converter --input_network model.onnx --output_path build/model.dlc $QAIRT_CONVERT
    if [ $quantized = yes ]; then
        # Named outputs would keep the quantizer from seeing the other tensors.
        run qairt-quantizer --input_dlc build/model.dlc --input_list "$CALIBRATION" \
            --output_dlc build/model_quantized.dlc $QAIRT_QUANTIZE
    fi
fi
dlc=build/model.dlc
[ $quantized = no ] || dlc=build/model_quantized.dlc
if [ $device = no ]; then
    [ $dry = yes ] || echo "$me: the DLC is $dlc"
    exit 0
fi

bridge get-state
bridge shell "rm -rf $device_dir && mkdir -p $device_dir"
bridge push "$sdk/lib/aarch64-android" "$device_dir/lib"
paths="LD_LIBRARY_PATH=$device_dir/lib"
if [ $quantized = yes ]; then
    bridge push "$sdk/lib/hexagon-$HEXAGON/unsigned" "$device_dir/dsp"
    paths="$paths ADSP_LIBRARY_PATH=$device_dir/dsp"
fi
bridge push "$dlc" "$device_dir/model.dlc"
bridge push input_list.txt "$device_dir/input_list.txt"
bridge push raw "$device_dir/raw"
if [ $FLOW = snpe ]; then
    bridge push "$sdk/bin/aarch64-android/snpe-net-run" "$device_dir/snpe-net-run"
    case $RUNTIME in
        cpu) on= ;;
        gpu) on=' --use_gpu' ;;
        *) on=' --use_dsp' ;;
    esac
    started="./snpe-net-run --container model.dlc$on"
else
    bridge push "$sdk/bin/aarch64-android/qnn-net-run" "$device_dir/qnn-net-run"
    case $RUNTIME in
        cpu) library=libQnnCpu.so ;;
        gpu) library=libQnnGpu.so ;;
        dsp) library=libQnnDsp.so ;;
        *) library=libQnnHtp.so ;;
    esac
    started="./qnn-net-run --model lib/libQnnModelDlc.so --dlc_path model.dlc --backend lib/$library"
fi
given="--input_list input_list.txt --output_dir output --perf_profile high_performance --profiling_level basic"
bridge shell "cd $device_dir && chmod +x *-net-run && $paths $started $given$NET_RUN"
run rm -rf build/output
bridge pull "$device_dir/output" build/output
# shellcheck disable=SC2086
if [ $FLOW = snpe ]; then
    run snpe-diagview --input_log build/output/SNPEDiag_0.log
else
    run qnn-profile-viewer --input_log build/output/qnn-profiling-data_0.log
fi
[ $dry = yes ] || echo "$me: the outputs are in build/output"
