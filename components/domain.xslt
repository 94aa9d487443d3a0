<?xml version="1.0"?>
<!-- What pulumi-libvirt cannot say of a domain. Any edit of this file replaces every domain (their disks stay). -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:output omit-xml-declaration="yes" indent="yes"/>

  <xsl:template match="@*|node()">
    <xsl:copy>
      <xsl:apply-templates select="@*|node()"/>
    </xsl:copy>
  </xsl:template>

  <!-- By path: virt-aa-helper writes no AppArmor rule for a disk that is named by pool and volume. -->
  <xsl:template match="disk[source/@volume]">
    <disk type="file" device="{@device}">
      <driver name="qemu" type="qcow2" discard="unmap"/>
      <source file="/var/lib/libvirt/images/{source/@pool}/{source/@volume}"/>
      <xsl:apply-templates select="*[not(self::driver or self::source)]"/>
    </disk>
  </xsl:template>

  <!-- The host's own CPU where the hardware runs the guest; emulated, the default model is the fastest. -->
  <xsl:template match="/domain[@type='kvm']/cpu">
    <cpu mode="host-model"/>
  </xsl:template>

  <!-- The serial console, with a log that starts anew at each boot. -->
  <xsl:template match="/domain/devices">
    <xsl:copy>
      <xsl:apply-templates select="@*|node()"/>
      <serial type="pty">
        <log file="/var/log/libvirt/qemu/{/domain/name}.console.log" append="off"/>
        <target port="0"/>
      </serial>
    </xsl:copy>
  </xsl:template>
</xsl:stylesheet>
