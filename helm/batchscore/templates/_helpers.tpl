{{- define "batchscore.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* At most 40 characters: a CronJob's name may have 52, and the names below carry suffixes. */ -}}
{{- define "batchscore.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "batchscore.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "batchscore.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "batchscore.selectorLabels" -}}
app.kubernetes.io/name: {{ include "batchscore.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "batchscore.labels" -}}
{{ include "batchscore.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "batchscore.driverLabels" -}}
{{ include "batchscore.selectorLabels" . }}
app.kubernetes.io/component: driver
{{- end -}}

{{- define "batchscore.hookLabels" -}}
{{ include "batchscore.selectorLabels" . }}
app.kubernetes.io/component: hook
{{- end -}}

{{- define "batchscore.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "batchscore.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "batchscore.fullname" .) -}}
{{- end -}}

{{- define "batchscore.workerServiceAccount" -}}
{{- .Values.serviceAccount.workerName | default (printf "%s-worker" (include "batchscore.fullname" .)) -}}
{{- end -}}

{{- define "batchscore.onKubernetes" -}}
{{- if eq (dig "cluster" "kind" "" .Values.run) "kubernetes" -}}true{{- end -}}
{{- end -}}

{{- define "batchscore.claim" -}}
{{- .Values.storage.persistentVolumeClaim.existingClaim | default (include "batchscore.fullname" .) -}}
{{- end -}}

{{- /* `int64` throughout: of a number in a values file, Helm prints 1000650000 as 1.00065e+09. */ -}}
{{- define "batchscore.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ .Values.podSecurityContext.runAsUser | int64 }}
runAsGroup: {{ .Values.podSecurityContext.runAsGroup | int64 }}
{{- with .Values.podSecurityContext.fsGroup }}
fsGroup: {{ . | int64 }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "batchscore.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* Volumes and mounts that driver, scheduler and workers share. */ -}}
{{- define "batchscore.volumes" -}}
- name: scratch
  emptyDir: {sizeLimit: {{ .Values.scratchSize }}}
- name: config
  configMap: {name: {{ include "batchscore.configName" . }}}
{{- if .Values.storage.persistentVolumeClaim.enabled }}
- name: data
  persistentVolumeClaim: {claimName: {{ include "batchscore.claim" . }}}
{{- end }}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "batchscore.volumeMounts" -}}
- {name: scratch, mountPath: /tmp}
- {name: config, mountPath: /etc/batchscore, readOnly: true}
{{- if .Values.storage.persistentVolumeClaim.enabled }}
- {name: data, mountPath: {{ .Values.storage.persistentVolumeClaim.mountPath }}}
{{- end }}
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "batchscore.workingDir" -}}
{{- if .Values.storage.persistentVolumeClaim.enabled }}{{ .Values.storage.persistentVolumeClaim.mountPath }}{{ else }}/tmp{{ end -}}
{{- end -}}

{{- define "batchscore.envFrom" -}}
{{- with .Values.storage.objectStore.secret }}
- secretRef: {name: {{ . }}}
{{- end }}
{{- with .Values.envFrom }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* What the chart knows and the run's configuration need not repeat; the configuration comes after it and wins. */ -}}
{{- define "batchscore.platform" -}}
cluster:
  deadline_minutes: {{ divf .Values.job.activeDeadlineSeconds 60 | toJson }}
{{- if include "batchscore.onKubernetes" . }}
  kubernetes:
    image: {{ include "batchscore.image" . }}
    image_pull_policy: {{ .Values.image.pullPolicy }}
    image_pull_secrets: {{ toJson .Values.image.pullSecrets }}
    service_account: {{ include "batchscore.workerServiceAccount" . }}
    working_dir: {{ include "batchscore.workingDir" . }}
    run_as_user: {{ .Values.podSecurityContext.runAsUser | int64 }}
    run_as_group: {{ .Values.podSecurityContext.runAsGroup | int64 }}
    fs_group: {{ with .Values.podSecurityContext.fsGroup }}{{ . | int64 }}{{ else }}null{{ end }}
    scratch_size: {{ .Values.scratchSize | quote }}
    labels:
      {{- include "batchscore.selectorLabels" . | nindent 6 }}
    env: {{ toJson .Values.env }}
    env_from: {{ include "batchscore.envFrom" . | fromYamlArray | toJson }}
    volumes: {{ include "batchscore.platformVolumes" . | fromYamlArray | toJson }}
    volume_mounts: {{ include "batchscore.platformMounts" . | fromYamlArray | toJson }}
{{- end -}}
{{- end -}}

{{- define "batchscore.platformVolumes" -}}
{{- if .Values.storage.persistentVolumeClaim.enabled }}
- {name: data, persistentVolumeClaim: {claimName: {{ include "batchscore.claim" . }}}}
{{- end }}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "batchscore.platformMounts" -}}
{{- if .Values.storage.persistentVolumeClaim.enabled }}
- {name: data, mountPath: {{ .Values.storage.persistentVolumeClaim.mountPath }}}
{{- end }}
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* JSON is YAML, and keeps whole numbers whole: toYaml writes 1000000 as 1e+06. */ -}}
{{- define "batchscore.configData" -}}
platform.yaml: |
  {{- include "batchscore.platform" . | nindent 2 }}
run.yaml: |
  {{- .Values.run | toPrettyJson | nindent 2 }}
{{- range $name, $content := .Values.files }}
{{ $name }}: {{ $content | toJson }}
{{- end }}
{{- end -}}

{{- define "batchscore.configName" -}}
{{- printf "%s-config-%s" (include "batchscore.fullname" .) (include "batchscore.configData" . | sha256sum | trunc 10) -}}
{{- end -}}

{{- define "batchscore.configArgs" -}}
- --config
- /etc/batchscore/platform.yaml
- --config
- /etc/batchscore/run.yaml
{{- end -}}

{{- /* The driver's pod. Called with a dict: root, args, grace. */ -}}
{{- define "batchscore.driverPod" -}}
{{- $root := .root -}}
{{- with $root -}}
metadata:
  labels:
    {{- include "batchscore.driverLabels" . | nindent 4 }}
    {{- with .Values.driver.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    {{- toYaml .Values.driver.annotations | nindent 4 }}
spec:
  restartPolicy: Never
  serviceAccountName: {{ include "batchscore.serviceAccount" . }}
  automountServiceAccountToken: {{ $.token }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.job.terminationGracePeriodSeconds }}
  securityContext:
    {{- include "batchscore.podSecurityContext" . | nindent 4 }}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with .Values.driver.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.driver.nodeSelector }}
  nodeSelector: {{ toJson . }}
  {{- end }}
  {{- with .Values.driver.tolerations }}
  tolerations: {{ toJson . }}
  {{- end }}
  {{- with .Values.driver.affinity }}
  affinity: {{ toJson . }}
  {{- end }}
  containers:
    - name: driver
      image: {{ include "batchscore.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        {{- $.args | nindent 8 }}
      workingDir: {{ include "batchscore.workingDir" . }}
      env:
        - {name: BATCHSCORE_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        - {name: BATCHSCORE_POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: BATCHSCORE_JOB, valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/job-name']"}}}
        - {name: BATCHSCORE_JOB_UID, valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/controller-uid']"}}}
        - {name: BATCHSCORE_OWNER, value: {{ $.owner }}}
        - {name: BATCHSCORE_IMAGE, value: {{ include "batchscore.image" . | quote }}}
        - {name: BATCHSCORE_GRACE_SECONDS, value: {{ .Values.job.terminationGracePeriodSeconds | int64 | quote }}}
        - {name: BATCHSCORE_CONFIG, value: {{ include "batchscore.configName" . }}}
        {{- with .Values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with include "batchscore.envFrom" . | trim }}
      envFrom:
        {{- . | nindent 8 }}
      {{- end }}
      resources: {{ toJson .Values.driver.resources }}
      securityContext:
        {{- include "batchscore.securityContext" . | nindent 8 }}
      volumeMounts:
        {{- include "batchscore.volumeMounts" . | nindent 8 }}
  volumes:
    {{- include "batchscore.volumes" . | nindent 4 }}
{{- end -}}
{{- end -}}
